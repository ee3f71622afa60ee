// SPDX-License-Identifier: Apache-2.0
/**
 * Files of events of an input device: whatever is read as one has a config space for every select, and its events are
 * written and read the same.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { encodeConfig } from "../../../lib/classes/input/capabilities.ts";
import { parseEvents } from "../../../lib/classes/input/events_file.ts";
import { decodeEvent, encodeEvent, INPUT_CONFIG_SIZE } from "../../../lib/classes/input/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { ABS, DROPPED, HostBench, KEY, LED, SYN, type Triple } from "../../classes/input/host.ts";
import { expectError, mostly, target } from "../target.ts";

const code = mostly(fc.nat({ max: 15 }), fc.integer(), 40);
const head = fc.record({
  name: mostly<unknown>(fc.string(), fc.anything()),
  codes: mostly<unknown>(
    fc.record({ EV_KEY: fc.constant([...new Array(16).keys()]), EV_LED: fc.array(code) }),
    fc.jsonValue(),
  ),
  axes: mostly<unknown>(fc.constant({ 1: { min: 0, max: 9 } }), fc.jsonValue()),
}, { requiredKeys: [] });
const line = fc.oneof(
  fc.record({ type: fc.constantFrom("EV_KEY", "EV_SYN", "EV_ABS", "EV_X"), code, value: code }),
  fc.record({ wait: code }),
);
const texts = mostly(
  fc.tuple(head, fc.array(line, { maxLength: 4 })).map(([first, rest]) =>
    [first, ...rest].map((one) => JSON.stringify(one)).join("\n")
  ),
  fc.string(),
);

/** Files of events of an input device. */
export const INPUT_EVENTS = target("files of events", texts, (text) => {
  try {
    const { capabilities, lines } = parseEvents(text, "f");
    for (let select = 0; select < 0x14; select++) {
      for (const subsel of [0, 1, 3, 255]) {
        assertEquals(encodeConfig(capabilities, select, subsel).length, INPUT_CONFIG_SIZE);
      }
    }
    const view = new DataView(new ArrayBuffer(8));
    for (const one of lines) {
      if ("wait" in one) assert(one.wait >= 0);
      else {
        encodeEvent(view, one);
        assertEquals(decodeEvent(view), one);
      }
    }
    return "accepted";
  } catch (error) {
    expectError(error, SpecError);
    return "refused";
  }
});

const hostEvent: fc.Arbitrary<Triple> = mostly<Triple>(
  fc.oneof(
    fc.tuple(fc.constant(KEY), fc.constantFrom(30, 0x110), fc.constantFrom(0, 1, 2)),
    fc.tuple(fc.constant(ABS), fc.constant(0), fc.integer({ min: -5, max: 300 })),
    fc.constant<Triple>([SYN, 0, 0]),
  ),
  fc.oneof(
    fc.constant<Triple>([SYN, DROPPED, 0]),
    fc.tuple(fc.nat({ max: 0xffff }), fc.nat({ max: 0xffff }), fc.integer()),
  ),
);
const step = fc.record({
  events: fc.array(hostEvent, { maxLength: 100 }),
  /** Whether the kernel drops them, instead. */
  isLost: mostly(fc.constant(false), fc.constant(true)),
  isGone: mostly(fc.constant(false), fc.constant(true), 20),
});

/** Events of the host: in the end the driver knows what is pressed, and got nothing that the device does not have. */
export const INPUT_HOST = target(
  "events of a host's input device",
  fc.array(step, { minLength: 1, maxLength: 6 }),
  (steps) => {
    using bench = new HostBench().begin(40);
    const { host } = bench;
    const known = new Set<number>();
    const follow = (): void => {
      for (let i = 0; i < 200; i++) {
        const got = bench.received();
        for (const text of got) {
          const [type, code, value] = text.split(" ").map(Number) as Triple;
          assert(type !== LED && (type !== KEY || [30, 0x110].includes(code)), text);
          if (type === KEY) known[value === 0 ? "delete" : "add"](code);
        }
        if (got.length === 0) return;
        bench.offer(got.length);
      }
    };
    for (const { events, isLost, isGone } of steps) {
      const pressed = new Set(host.pressed);
      for (const [type, code, value] of events) {
        if (type === KEY && [30, 0x110].includes(code)) {
          pressed[value === 0 ? "delete" : "add"](code);
        }
      }
      host.pressed = [...pressed];
      host.events = isLost ? [[SYN, DROPPED, 0]] : events;
      host.events.push([SYN, 0, 0]);
      host.failure = isGone ? -19 : 0;
      follow();
      host.failure = 0;
      if (isGone) host.events = [];
      bench.bench.clock.pass(1000);
      follow();
    }
    assertEquals([...known].sort(), [...host.pressed].sort());
    return steps.some(({ events }) => events.length > 0) ? "accepted" : "refused";
  },
);
