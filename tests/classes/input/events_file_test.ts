// SPDX-License-Identifier: Apache-2.0
// Files of events: what they say, and what is refused.
import { assertEquals, assertThrows } from "@std/assert";
import { encodeConfig } from "../../../lib/classes/input/capabilities.ts";
import { NO_EVENTS, parseEvents } from "../../../lib/classes/input/events_file.ts";
import { CFG_ID_NAME, PAYLOAD_AT } from "../../../lib/classes/input/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";

const HEAD = JSON.stringify({ name: "buttons", codes: { EV_KEY: [30] }, axes: { 1: { max: 9 } } });
const key = (more: object) => JSON.stringify({ type: "EV_KEY", code: 30, value: 1, ...more });
/** 64 characters of 2 bytes. */
const LONG = "ä".repeat(64);

Deno.test("input: a file of events is read, with what is not said", () => {
  const { capabilities, lines } = parseEvents(`${HEAD}\n${key({})}\n{"wait": 3}\n\n`, "f");
  assertEquals(capabilities, {
    ...NO_EVENTS.capabilities,
    name: "buttons",
    codes: new Map([[1, [30]], [3, [1]]]),
    axes: new Map([[1, { min: 0, max: 9, fuzz: 0, flat: 0, res: 0 }]]),
  });
  assertEquals(lines, [{ type: 1, code: 30, value: 1 }, { wait: 3 }]);
  assertEquals(parseEvents("{}\n\n\n", "f"), NO_EVENTS);
  assertEquals(parseEvents(JSON.stringify({ name: LONG }), "f").capabilities.name, LONG);
});

const TABLE: readonly [what: string, lines: string[], text: string][] = [
  ["what is no JSON", ["no"], "Cannot use line 1 of f"],
  ["what is no object", ["[]"], "line 1 of f: expected an object"],
  ["a later line", [HEAD, key({}), "{"], "line 3 of f"],
  ["an unknown type", [HEAD, key({ type: "EV_X" })], 'line 2 of f: "type" is "EV_X", expected one'],
  ["a code not announced", [HEAD, key({ code: 31 })], "code 31 of EV_KEY is not in the first line"],
  ["a code that no key has", [HEAD, key({ code: 768 })], '"code" is 768, expected 0 to 767'],
  ["too large a value", [HEAD, key({ value: 2 ** 31 })], '"value" is 2147483648, expected -2147'],
  ["an event with more", [HEAD, key({ val: 1 })], 'there is no "val" in an event, expected type,'],
  ["a wait before now", [HEAD, '{"wait": -1}'], 'line 2 of f: "wait" is -1'],
  ["a wait with more", [HEAD, '{"wait": 1, "code": 2}'], 'there is no "code" in a wait'],
  [
    "an unknown key",
    ['{"nam": "x"}'],
    'there is no "nam" in the first line, expected name, serial',
  ],
  [
    "an unknown id",
    ['{"ids": {"bus": 3}}'],
    'there is no "bus" in "ids", expected bustype, vendor',
  ],
  ["codes that are no list", ['{"codes": {"EV_KEY": 3}}'], '"EV_KEY" is no list'],
  ["an axis too many", ['{"axes": {"64": {}}}'], '"axes" "64": expected the number of an axis'],
  [
    "an empty axis",
    ['{"axes": {"": {}}}'],
    '"axes" "": expected the number of an axis, "0" to "63"',
  ],
  ["an axis in hexadecimal", ['{"axes": {"0x1": {}}}'], '"axes" "0x1": expected the number'],
  ["an axis twice", ['{"axes": {"1": {}, "01": {}}}'], '"axes" "01": expected the number'],
  ["an axis that is none", ['{"axes": {"1": 3}}'], '"axes 1" is no object'],
  ["an axis with more", ['{"axes": {"1": {"mx": 3}}}'], 'there is no "mx" in "axes" "1", expected'],
  [
    "an axis in no order",
    ['{"axes": {"1": {"min": 1}}}'],
    "min is 1 and max 0, expected min to be",
  ],
  ["a negative flat", ['{"axes": {"1": {"flat": -1}}}'], '"flat of axis 1" is -1, expected 0 to'],
  [
    "a code of no axis",
    ['{"codes": {"EV_ABS": [2]}}'],
    '"EV_ABS" has 2, expected it in "axes" too',
  ],
  ["a name of 129 bytes", [JSON.stringify({ name: `${LONG}x` })], "a text of up to 128 bytes"],
  ["a name that is no text", ['{"name": 3}'], '"name" is 3, expected a text of'],
];

for (const [what, lines, text] of TABLE) {
  Deno.test(`input: ${what} is refused with its line and key`, () => {
    assertThrows(() => parseEvents(lines.join("\n"), "f"), SpecError, text);
  });
}

Deno.test("input: a name that is too long is cut between characters", () => {
  const config = encodeConfig({ ...NO_EVENTS.capabilities, name: `x${LONG}` }, CFG_ID_NAME, 0);
  const name = config.subarray(PAYLOAD_AT, PAYLOAD_AT + config[2]!);
  assertEquals(new TextDecoder("utf-8", { fatal: true }).decode(name), `x${"ä".repeat(63)}`);
});
