// SPDX-License-Identifier: Apache-2.0
// Chains that are as large as memory: what a back-end has no room for waits, and waits again with the next one.
import { assertEquals, assertMatch } from "@std/assert";
import { SLOT_BYTES } from "../../../lib/bridge/activation_memory.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT } from "../../../lib/virtio/split_ring.ts";
import { Chain, VIRTQ_DESC_F_WRITE } from "../../../lib/virtio/split_ring.ts";
import { STATUS_DEVICE_NEEDS_RESET } from "../../../lib/virtio/state.ts";
import { HostileDriver } from "../../guest/hostile_driver.ts";
import { EagerPort } from "../../support/eager_port.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { fill, Filler } from "./back_ends.ts";
import { WholeChain } from "./chain.ts";

const MIB = 2 ** 20;

/** An entropy device with a driver in this isolate, which may do anything to its ring. Isolated memory: no access waits but DRIVER_OK. */
async function withDriver(
  body: (chain: WholeChain, back: Filler, driver: HostileDriver) => Promise<void>,
): Promise<void> {
  await withoutLeaks(async () => {
    await using chain = await WholeChain.create();
    const back = chain.use(new Filler(chain.reactor, chain.file("socket")));
    const node = chain.use(new SoftNode(80 * MIB));
    node.listen(chain.file("node"), chain.reactor);
    chain.add({ class: "rng" });
    await chain.event("started");
    const port = chain.use(new EagerPort(node.wires));
    const driver = new HostileDriver(port);
    driver.bringUp(true);
    await until(() => !port.pending, "DRIVER_OK to be answered");
    await body(chain, back, driver);
  });
}

Deno.test("chains wait in order while the back-end's ring is full, also with the next back-end", async () => {
  await withDriver(async (chain, back, driver) => {
    // It takes all it is given, and keeps it.
    back.serve = ({ ring }) => {
      const held = new Chain();
      do while (ring.pop(held)); while (ring.enableNotifications());
    };
    const queue = driver.queues[0]!;
    const half = SLOT_BYTES / 2;
    for (let i = 0; i < 5; i++) {
      queue.descriptor(
        i,
        queue.memoryStart + half * (i + 1),
        half - 64,
        VIRTQ_DESC_F_WRITE,
      );
    }
    queue.publish([0, 1, 2, 3, 4]);
    driver.notify(0);
    const inFlight = (): number => chain.counters().queues[0]!.inFlight;
    // Two are there, one does not fit beside them and waits; the others are not looked at before it.
    await until(() => inFlight() === 3, "three chains to be taken");
    for (let life = 1; life <= 2; life++) {
      const since = chain.events.length;
      back.end();
      if (life === 2) back.serve = fill;
      await chain.event("resumed", since);
    }
    await until(() => driver.usedIdx(0) === 5, "all chains to come back");
    assertEquals(driver.status, 0xf);
    assertEquals(inFlight(), 0);
  });
});

Deno.test("a chain of more than 4 GiB is refused; its length is not truncated to 32 bits", async () => {
  await withDriver(async (chain, _back, driver) => {
    const queue = driver.queues[0]!;
    const entries = 64;
    for (let i = 0; i < entries; i++) {
      const next = i + 1 < entries ? VIRTQ_DESC_F_NEXT : 0;
      queue.tableEntry(1, i, queue.memoryStart, 64 * MIB - 1, VIRTQ_DESC_F_WRITE | next, i + 1);
    }
    queue.descriptor(0, queue.buffer + 4096, 16 * entries, VIRTQ_DESC_F_INDIRECT);
    queue.publish([0]);
    driver.notify(0);
    const { text } = await chain.event("error");
    assertMatch(
      text,
      /queue 0 .*: its 4294968320 bytes are more than the memory shared with a back-end/,
    );
    await until(() => (driver.status & STATUS_DEVICE_NEEDS_RESET) !== 0, "DEVICE_NEEDS_RESET");
  });
});
