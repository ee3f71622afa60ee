// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { replay } from "../../../lib/classes/can/replay.ts";

const START = [0x01, 0x02];
const STOP = [0x02, 0x02];

function request(bytes: number[]): [DataView, number] {
  return [new DataView(Uint8Array.from([...bytes, 0, 0]).buffer), bytes.length];
}

Deno.test("START is repeated while the controller is started", () => {
  const one = replay.create(new Uint8Array(replay.stateBytes));
  const table: [request: number[], before: number[][], isClean: boolean][] = [
    [STOP, [], true],
    [START, [START], false],
    [[9, 9], [START], false],
    [STOP.slice(0, 1), [START], false],
    [START, [START], false],
    [STOP, [], true],
  ];
  for (const [bytes, before, isClean] of table) {
    one.observe(...request(bytes));
    assertEquals(one.before().map((message) => [...message]), before);
    assertEquals([one.after(), one.isClean!()], [[], isClean]);
  }
});

Deno.test("START of a started and STOP of a stopped controller succeed although a back-end refuses them", () => {
  const one = replay.create(new Uint8Array(replay.stateBytes));
  const refused = (bytes: number[]) => one.refused!(...request(bytes));
  const OK = Uint8Array.of(0);
  assertEquals([refused(START), refused(STOP), refused([9, 9]), refused([])], [
    null,
    OK,
    null,
    null,
  ]);
  one.observe(...request(START));
  assertEquals([refused(START), refused(STOP), refused([9, 9])], [OK, null, null]);
});

Deno.test("a response has one byte", () => {
  assertEquals(replay.responseBytes, 1);
  assertEquals([0, 1, 255].map((byte) => replay.isOk(new DataView(Uint8Array.of(byte).buffer))), [
    true,
    false,
    false,
  ]);
});
