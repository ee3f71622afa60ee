// SPDX-License-Identifier: Apache-2.0
/**
 * What GPIO reads of others: blocks of names, edges of a chip, requests at the control socket.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { levelsOf } from "../../../ffi/mod.ts";
import { LineControl } from "../../../lib/classes/gpio/control.ts";
import { SimulatedLines } from "../../../lib/classes/gpio/simulated.ts";
import { decodeNames, encodeNames } from "../../../lib/classes/gpio/wire.ts";
import { anyBytes, mostly, target } from "../target.ts";

/** Blocks of names: what is read is written again as it was. */
export const GPIO_NAMES = target(
  "names of GPIO lines",
  fc.record({ bytes: anyBytes(200), ngpio: fc.nat({ max: 300 }) }),
  ({ bytes, ngpio }) => {
    const names = decodeNames(bytes, ngpio);
    if (names === null) return "refused";
    assertEquals(names.length, ngpio);
    if (names.some((name) => name !== "") && names.every((name) => /^[ -~]*$/.test(name))) {
      assertEquals(decodeNames(encodeNames(names), ngpio), names);
    }
    return "accepted";
  },
);

const edges = fc.record({
  ids: fc.array(mostly(fc.constantFrom(1, 2), fc.nat({ max: 255 })), { maxLength: 20 }),
  rest: fc.nat({ max: 47 }),
});

/** Edges of a chip, the last of them cut short. */
export const GPIO_EDGES = target("edges of a GPIO chip", edges, ({ ids, rest }) => {
  const bytes = new Uint8Array(ids.length * 48 + rest).fill(1);
  const view = new DataView(bytes.buffer);
  ids.forEach((id, i) => view.setUint32(48 * i + 8, id, true));
  const levels = levelsOf(bytes);
  assertEquals(levels, ids.filter((id) => id === 1 || id === 2).map((id) => id === 1 ? 1 : 0));
  return levels.length > 0 ? "accepted" : "refused";
});

const names = mostly(fc.constantFrom<unknown>("A", "B", "0", "1", 1), fc.anything());
const levels = mostly(fc.constantFrom<unknown>(0, 1), fc.anything());
const requests = mostly(
  fc.oneof(
    fc.record({ get: fc.array(names, { maxLength: 3 }) }),
    fc.record({ watch: fc.array(names, { maxLength: 3 }) }),
    fc.tuple(names, levels).map((set): object => ({ set })),
  ),
  fc.anything(),
);

/** Requests at a control socket: each is answered once, or refused with a sentence. */
export const GPIO_CONTROL = target("control requests of GPIO", requests, (request) => {
  const lines = new SimulatedLines(["A", "B", ""], () => {});
  const replies: object[] = [];
  const client = { tell: () => {}, reply: (value: object) => void replies.push(value) };
  const control = new LineControl(lines, () => true, () => 0);
  let value: unknown;
  try {
    value = JSON.parse(JSON.stringify(request) ?? "null"); // as it comes over the socket
  } catch {
    return "refused"; // no JSON value
  }
  try {
    control.request(value, client);
    assertEquals(replies.length, 1);
    return "accepted";
  } catch (error) {
    assert(error instanceof Error && error.message.startsWith("Cannot "), `${error}`);
    assertEquals(replies.length, 0);
    return "refused";
  }
});
