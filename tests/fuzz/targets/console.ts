// SPDX-License-Identifier: Apache-2.0
/**
 * Control messages of a console's driver: whatever it sends, and however it offers buffers, the device tells it of ports that
 * there are, no more than it asked for, and survives.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { checkConsole } from "../../../lib/classes/console/spec.ts";
import { encodeControl, VQ_CONTROL_RX } from "../../../lib/classes/console/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { ConsoleBench } from "../../classes/console/bench.ts";
import { ANY_U32, anyBytes, expectError, mostly, target } from "../target.ts";

const message = fc.record({
  id: mostly(fc.nat({ max: 3 }), ANY_U32),
  event: mostly(fc.constantFrom(0, 3, 6), fc.nat({ max: 0xffff })),
  value: mostly(fc.constantFrom(0, 1), fc.nat({ max: 0xffff })),
  rest: anyBytes(8),
  cut: fc.nat({ max: 16 }),
  room: mostly(fc.constantFrom(8, 64), fc.integer({ min: 1, max: 16 })),
});

/** Control messages of a console's driver. */
export const CONSOLE_MESSAGES = target(
  "control messages of a console",
  fc.array(message, { minLength: 1, maxLength: 30 }),
  (messages) => {
    using bench = new ConsoleBench({ console: "c", ports: ["gps=a"] });
    let told = 0;
    for (const { id, event, value, rest, cut, room } of messages) {
      const bytes = encodeControl({ id, event, value }, rest);
      bench.controlBytes(bytes.subarray(0, Math.max(1, bytes.length - cut)));
      bench.offer(VQ_CONTROL_RX, 1, room);
      for (const answer of bench.taken(VQ_CONTROL_RX)) {
        if (answer.length === 0) continue; // too small
        told++;
        assert(answer.length >= 8 && answer[0]! < 2);
      }
    }
    assertEquals(
      bench.wiring.rings.map(({ failure }) => failure),
      bench.wiring.rings.map(() => null),
    );
    return told > 0 ? "accepted" : "refused";
  },
);

const words = fc.constantFrom("tcp:", "pty", "unix:", "[", "]", ":", "1", "127.0.0.1", "::1", "=");

/** Ends of a console's ports, as a command line gives them. */
export const CONSOLE_ENDS = target(
  "ends of a console",
  fc.oneof(
    fc.string(),
    fc.array(fc.oneof(words, fc.string())).map((all) => all.join("")),
    fc.tuple(fc.constantFrom("tcp:", "unix:", "a=unix:", ""), words, fc.constantFrom(":1", ""))
      .map((all) => all.join("")),
  ),
  (end) => {
    try {
      checkConsole(end.includes("=") ? { ports: [end] } : { console: end });
      return "accepted";
    } catch (error) {
      expectError(error, SpecError);
      return "refused";
    }
  },
);
