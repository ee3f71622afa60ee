// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { device as role } from "../../../lib/classes/rng/device.ts";
import { DeviceBench, type FakeClock, Wiring } from "../../device/wiring.ts";

function wire(): { clock: FakeClock; wiring: Wiring } {
  using bench = new DeviceBench(role, {});
  const { clock, device } = bench;
  const wiring = new Wiring(device);
  wiring.start();
  return { clock, wiring };
}

Deno.test("rng fills whole buffers of any size and number of pieces, with bytes that differ", () => {
  const { wiring } = wire();
  const queue = wiring.queues[0]!;
  let token = 1;
  for (const lengths of [[1], [64], [4096], [65536], [65537], [3, 100000, 5], [2 ** 20]]) {
    const places = wiring.offer(0, token, [], lengths);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    assertEquals(queue.take(), { token, length: total });
    lengths.forEach((length, i) => {
      const bytes = wiring.bytes.subarray(places[i]!, places[i]! + length);
      // The chance of a byte value missing in 4096 is below 2^-15; of all of 64 being alike, none.
      if (length >= 64) assert(new Set(bytes).size > 16);
      assertEquals(bytes.length, length);
    });
    // Not a byte beyond.
    const end = places.at(-1)! + lengths.at(-1)!;
    assertEquals(wiring.bytes.subarray(end, end + 16), new Uint8Array(16));
    token++;
  }
  const [a, b] = [wiring.offer(0, 90, [], [32]), wiring.offer(0, 91, [], [32])];
  assert(
    wiring.bytes.subarray(a[0]!, a[0]! + 32).join() !==
      wiring.bytes.subarray(b[0]!, b[0]! + 32).join(),
  );
});

Deno.test("rng gives at most a megabyte to one buffer, and nothing to one without room", () => {
  const { wiring } = wire();
  const queue = wiring.queues[0]!;
  wiring.offer(0, 1, [], [2 ** 20 + 1]);
  assertEquals(queue.take(), { token: 1, length: 2 ** 20 });
  wiring.offer(0, 2, [new Uint8Array(8)], []);
  assertEquals(queue.take(), { token: 2, length: 0 });
});

Deno.test("rng stops serving a malformed ring, and serves it again after it was stopped", () => {
  const { wiring } = wire();
  const [ring] = wiring.rings;
  new DataView(wiring.buffer).setUint16(64 * 16 + 2, 999, true);
  ring!.onKick();
  assert(ring!.failure!.message.includes("queue 0 of rng"));
  const failure = ring!.failure;
  ring!.onKick();
  assertEquals(ring!.failure, failure);
  wiring.device.stopRing(0, false);
  wiring.device.disconnected();
});

Deno.test("rng serves the rest by itself after a full ring", () => {
  const { clock, wiring } = wire();
  wiring.rings[0]!.onKick = () => {};
  for (let i = 0; i < 64; i++) wiring.offer(0, i, [], [16]);
  wiring.device.startRing(wiring.rings[0]!);
  let count = 0;
  while (wiring.queues[0]!.take() !== null) count++;
  assertEquals(count, 64);
  assertEquals(clock.alarm, 0);
  clock.pass(0);
  assertEquals(clock.alarm, Infinity);
});
