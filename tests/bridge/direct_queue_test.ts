// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DirectQueue } from "../../lib/bridge/direct_queue.ts";
import { DeviceReplay } from "../../lib/bridge/replay.ts";
import type { ReplayRole } from "../../lib/virtio/device_class.ts";
import { RingError } from "../../lib/virtio/error.ts";
import { DATA, RawRing } from "../virtio/ring_fixture.ts";

const TX = 2;

/** A ring of 8 with `used` elements used and `avail` offered. */
function ringAt(used: number, avail: number): RawRing {
  const ring = new RawRing(8);
  ring.desc(0, DATA, 16);
  ring.usedIdx(used);
  ring.offer(used, ...Array((avail - used) & 0xffff).fill(0));
  return ring;
}

function queueOf(ring: RawRing, index = TX): DirectQueue {
  return new DirectQueue({ ...ring.layout, index }, ring.memory, ring.options());
}

/** A replay by which buffers of stream 0 are due. */
function running(): DeviceReplay {
  const role: ReplayRole = {
    queue: 0,
    stateBytes: 0,
    requestBytes: 0,
    responseBytes: 0,
    isOk: () => true,
    create: () => ({
      observe: () => {},
      before: () => [],
      after: () => [],
      isDue: (queue, firstWord) => queue === TX && firstWord === 0,
    }),
  };
  return new DeviceReplay(role, new Uint8Array(1024), 0);
}

Deno.test("a back-end begins at the used index, also past 65535", () => {
  for (const [used, avail] of [[0, 0], [5, 7], [0xfffe, 2]] as const) {
    const queue = queueOf(ringAt(used, avail));
    assertEquals([queue.base, queue.waiting], [used, (avail - used) & 0xffff]);
  }
});

Deno.test("where viola sees no memory it begins at 0, and knows nothing", () => {
  const ring = ringAt(5, 7);
  const queue = new DirectQueue(ring.layout, null, ring.options());
  assertEquals([queue.base, queue.waiting], [0, 0]);
  assert(!queue.isDue(true, running()));
  assert(!queue.isDue(true, running()));
});

Deno.test("a request is due when none came back since it was last asked", () => {
  const ring = ringAt(3, 4);
  const queue = queueOf(ring);
  const replay = running();
  assert(!queue.isDue(true, replay)); // it looks for the first time
  assert(queue.isDue(true, replay));
  assert(queue.isDue(true, replay));
  ring.usedIdx(4);
  assert(!queue.isDue(true, replay));
  assert(!queue.isDue(true, replay)); // nothing is there
});

Deno.test("a stream's buffer is due when its stream runs", () => {
  const ring = ringAt(0, 1);
  const queue = queueOf(ring);
  const replay = running();
  queue.isDue(false, replay);
  assert(queue.isDue(false, replay));
  ring.view.setUint32(0x8000, 1, true); // another stream's
  assert(!queue.isDue(false, replay));
});

Deno.test("looking changes nothing", () => {
  const ring = ringAt(1, 3);
  const before = ring.hex(0, ring.bytes.length);
  const queue = queueOf(ring);
  for (let i = 0; i < 3; i++) queue.isDue(true, running());
  assertEquals([queue.base, queue.waiting], [1, 2]);
  assertEquals(ring.hex(0, ring.bytes.length), before);
});

Deno.test("a driver's ring that cannot be true is told", () => {
  const ring = ringAt(0, 1);
  ring.availIdx(20);
  const queue = queueOf(ring);
  queue.isDue(true, running());
  assertThrows(() => queue.isDue(true, running()), RingError, "available idx is 20");
});
