// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { OsError, signalEvent, viewMemory } from "../../ffi/mod.ts";
import { createArming } from "../../lib/bridge/arming.ts";
import { createMemoryUse } from "../../lib/bridge/memory_use.ts";
import type { LaneDevice } from "../../lib/bridge/lane_messages.ts";
import { ACTIVATION_GUEST, ActivationMemory } from "../../lib/bridge/activation_memory.ts";
import { type DeviceState, QUEUE_WORDS } from "../../lib/virtio/state.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { createState } from "../virtio/register_fixture.ts";

/** A sound card's state with these queues set up. */
function stateWith(...queues: number[]): DeviceState {
  const { access: state } = createState();
  for (const index of queues) {
    const queue = state.queues[index]!;
    queue.setWord(1, 64);
    queue.setWord(4, 0x1000 * (index + 1));
    queue.setWord(6, 0x1000 * (index + 1) + 0x400);
    queue.setWord(8, 0x1000 * (index + 1) + 0x800);
    queue.makeReady();
  }
  return state;
}

function deviceOf(memory: "isolated" | "direct", name = "card0"): LaneDevice {
  const range = { address: 1n, length: 1 };
  const bell = { fd: -1, request: 0, argument: null };
  const bells = { doorbell: -1, wakeup: bell, interrupt: bell };
  return {
    id: 1,
    name,
    priority: 0,
    memory,
    config: "cached",
    port: {
      ...bells,
      name: "soft",
      page: range,
      setsDone: true,
      memory: [{ ...range, guest: 0 }],
      chunks: null,
    },
    state: range,
    memoryUse: createMemoryUse(),
    arming: createArming(),
    restored: false,
    queues: [],
    featureNames: {},
    replay: { url: "", queues: [0] },
    kicks: [10, 11, 12, 13],
  };
}

Deno.test("isolated: each queue that is set up has a ring and room of its own in one memory", async () => {
  await withoutLeaks(() => {
    using activation = new ActivationMemory(deviceOf("isolated"), stateWith(0, 2, 3), 0n);
    assertEquals(activation.rings.map(({ index, size }) => [index, size]), [[0, 64], [2, 64], [
      3,
      64,
    ]]);
    const { fd, mapping } = activation.memory!;
    assertEquals(fd.size(), mapping.length);
    let end = 0;
    for (const { desc, avail, used, slots } of activation.rings) {
      assert(desc - ACTIVATION_GUEST >= end && desc % 4096 === 0);
      assert(desc < avail && avail < used && used + 6 + 8 * 64 <= ACTIVATION_GUEST + slots!.start);
      assert(slots!.end - slots!.start >= 4 * 2 ** 20);
      end = slots!.end;
    }
    assertEquals(end, mapping.length);
    new Uint8Array(viewMemory(mapping))[end - 1] = 1;
    const events = activation.rings.flatMap(({ call, kick }) => [call, kick]);
    assertEquals(new Set(events).size, 6);
    for (const event of events) signalEvent(event);
  });
});

Deno.test("direct: the driver's rings stay its own, but for the one that is repeated", async () => {
  await withoutLeaks(() => {
    using activation = new ActivationMemory(deviceOf("direct"), stateWith(0, 1, 2), 0n);
    const [control, event, tx] = activation.rings;
    assert(control!.slots !== null && control!.kick !== 10);
    assertEquals([event!.slots, event!.desc], [null, 0x2000]);
    assertEquals([tx!.avail, tx!.used], [0x3400, 0x3800]);
    // The last back-end may hold its kick still, and read it empty: the next gets another.
    const kicks = activation.rings.map(({ kick }) => kick);
    assertEquals(new Set([...kicks, 10, 11, 12]).size, 6);
    assert(activation.memory !== null);
  });
});

Deno.test("a shadow ring has room for a request of viola's own, and for every chain that is taken out of its table", () => {
  const INDIRECT = 1n << 28n;
  const sizes = (size: number, accepted: bigint, features: bigint, flatSize?: number) => {
    const { access } = createState({ deviceFeatures: INDIRECT });
    access.selectDriverFeatures(0);
    access.writeDriverFeatures(Number(accepted));
    const queue = access.queues[0]!;
    queue.setWord(QUEUE_WORDS.num, size);
    queue.makeReady();
    using activation = new ActivationMemory(
      deviceOf("isolated"),
      access,
      features,
      new Map(),
      flatSize,
    );
    assertEquals(activation.describe(3, 4).indirect, features !== 0n);
    return activation.rings.map((ring) => ring.size);
  };
  assertEquals(sizes(64, INDIRECT, INDIRECT), [64]);
  assertEquals(sizes(1, INDIRECT, INDIRECT), [2]);
  assertEquals(sizes(64, INDIRECT, 0n), [1024]);
  assertEquals([256, 32].map((flat) => sizes(64, INDIRECT, 0n, flat)), [[256], [64]]);
  assertEquals(sizes(64, INDIRECT, INDIRECT, 256), [64]);
  assertEquals(sizes(64, 0n, 0n), [64]);
  assertEquals(sizes(1, 0n, INDIRECT), [2]);
});

Deno.test("no queue, or none that is shadowed: no memory", async () => {
  await withoutLeaks(() => {
    using none = new ActivationMemory(deviceOf("isolated"), stateWith(), 0n);
    assertEquals([none.rings, none.memory], [[], null]);
    using direct = new ActivationMemory(deviceOf("direct"), stateWith(2), 0n);
    assertEquals([direct.rings.length, direct.memory], [1, null]);
  });
});

Deno.test("closing frees everything, and again is no harm; so does a failure half way", async () => {
  await withoutLeaks(() => {
    const activation = new ActivationMemory(deviceOf("isolated"), stateWith(0), 0n);
    activation.close();
    activation.close();
    assertThrows(() => activation.memory!.mapping.address, TypeError, "unmapped");
    assertThrows(() => activation.memory!.fd.number, TypeError, "closed");
    // A memfd's name has 249 bytes at most.
    const device = deviceOf("isolated", "x".repeat(300));
    assertThrows(
      () => new ActivationMemory(device, stateWith(0, 1, 2, 3), 0n),
      OsError,
      "of memory",
    );
  });
});

Deno.test("a back-end cannot cut its memory short under viola's feet", () => {
  using activation = new ActivationMemory(deviceOf("isolated"), stateWith(0), 0n);
  const { fd, mapping } = activation.memory!;
  const file = Deno.openSync(`/proc/self/fd/${fd.number}`, { read: true, write: true });
  try {
    assertThrows(() => file.truncateSync(0), Error, "not permitted");
  } finally {
    file.close();
  }
  assertEquals(new Uint8Array(viewMemory(mapping))[mapping.length - 1], 0);
});
