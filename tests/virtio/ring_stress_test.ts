// SPDX-License-Identifier: Apache-2.0
// Two threads at one ring, each with a mapping of its own: what no single thread can show of memory order and wake-ups.
import { assert, assertEquals } from "@std/assert";
import { createMemory, EventFd, Mapping, viewMemory } from "../../ffi/mod.ts";
import { RingError } from "../../lib/virtio/error.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { Chain, DeviceRing } from "../../lib/virtio/split_ring.ts";
import { GUEST, LAYOUT, SIZE, STOP, type Task } from "./ring_parties.ts";

const BYTES = 0x8000;
const SCRIPT = new URL("./ring_stress_worker.ts", import.meta.url);

/** Runs a party in a thread until it has done its task. @throws {Error} what went wrong there */
async function run(task: Task): Promise<void> {
  const worker = new Worker(SCRIPT, { type: "module", name: task.role });
  try {
    const ended = Promise.withResolvers<string | null>();
    worker.onmessage = ({ data }) => ended.resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      ended.resolve(event.message);
    };
    worker.postMessage(task);
    const failure = await ended.promise;
    if (failure !== null) throw new Error(`${task.role}: ${failure}`);
  } finally {
    worker.terminate();
  }
}

for (const eventIdx of [false, true]) {
  const how = eventIdx ? "event indices" : "flags";
  Deno.test(`two threads exchange 100,000 requests with ${how} and lose no wake-up`, async () => {
    using memory = createMemory("ring-stress", BYTES);
    using ours = Mapping.create(memory, BYTES);
    using theirs = Mapping.create(memory, BYTES);
    using kick = EventFd.create();
    using call = EventFd.create();
    const both = { kick: kick.number, call: call.number, eventIdx, count: 100_000 };
    const ended = await Promise.allSettled([
      run({ role: "driver", range: ours.range, ...both }),
      run({ role: "device", range: theirs.range, ...both }),
    ]);
    const failures = ended.flatMap((end) => end.status === "rejected" ? [end.reason.message] : []);
    assertEquals(failures, []);
  });
}

Deno.test("a chain is safe to use although the driver rewrites it while it is read", async () => {
  using memory = createMemory("ring-scribble", BYTES);
  using ours = Mapping.create(memory, BYTES);
  using theirs = Mapping.create(memory, BYTES);
  const guest = new GuestMemory([{ guest: GUEST, buffer: viewMemory(ours) }]);
  const { u8, u16 } = guest.regions[0]!;
  const avail = (LAYOUT.avail - GUEST) / 2;
  const options = { indirect: true, eventIdx: false, deviceName: "stress" };
  const none = { kick: -1, call: -1, eventIdx: false, count: 0 };
  const scribbler = run({ role: "scribbler", range: theirs.range, ...none });
  const chain = new Chain(SIZE);
  const seen = { taken: 0, refused: 0 };
  try {
    const isSeen = () => seen.taken >= 1000 && seen.refused >= 1000;
    for (let i = 0; i < 3_000_000 && (i < 100_000 || !isSeen()); i++) {
      if (i % 10_000 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      u16[avail + 2] = i % SIZE;
      u16[avail + 1] = 1;
      const ring = new DeviceRing(guest, LAYOUT, options, { nextAvail: 0, usedIdx: 0 });
      seen[popSafely(ring, chain, guest)]++;
    }
  } finally {
    u8[STOP] = 1;
    await scribbler;
  }
  assert(seen.taken >= 1000 && seen.refused >= 1000, JSON.stringify(seen));
});

function popSafely(ring: DeviceRing, chain: Chain, memory: GuestMemory): "taken" | "refused" {
  try {
    assert(ring.pop(chain));
  } catch (error) {
    if (!(error instanceof RingError)) throw error;
    return "refused";
  }
  checkChain(chain, memory);
  return "taken";
}

function checkChain(chain: Chain, memory: GuestMemory): void {
  assert(chain.count > 0 && chain.count <= chain.capacity);
  let bytes = 0;
  for (let i = 0; i < chain.count; i++) {
    assert(chain.length[i]! > 0);
    memory.region(chain.address[i]!, chain.length[i]!);
    bytes += chain.length[i]!;
  }
  assertEquals(chain.readableBytes + chain.writableBytes, bytes);
}
