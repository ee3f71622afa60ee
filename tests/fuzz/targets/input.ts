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
