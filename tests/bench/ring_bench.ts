// SPDX-License-Identifier: Apache-2.0
/**
 * What a request costs on the rings themselves, no wake-up in it: `deno bench -A tests/bench/ring_bench.ts`. Each
 * iteration moves 1000 chains of two segments, so microseconds read as nanoseconds per chain.
 *
 * @module
 */
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  Chain,
  DeviceRing,
  DriverRing,
  encodeDescriptor,
  splitRingLayout,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../lib/virtio/split_ring.ts";

const CHAINS = 1000;
const SIZE = 2048;
const TABLES = 0x2_0000;
const DATA = 0x4_0000;

/** A driver's and a device's side of one ring, with 1000 chains written and none offered. */
function makePair(
  eventIdx: boolean,
  indirect: boolean,
): { driver: DriverRing; device: DeviceRing } {
  const memory = new GuestMemory([{ guest: 0, buffer: new ArrayBuffer(1 << 20) }]);
  const layout = { index: 0, size: SIZE, ...splitRingLayout(0, SIZE, 4096) };
  const options = { indirect, eventIdx, deviceName: "bench" };
  const driver = new DriverRing(memory, layout, options);
  for (let head = 0; head < 2 * CHAINS; head += 2) {
    const at = TABLES + 16 * head;
    const table = new DataView(memory.regions[0]!.buffer, indirect ? at : 0);
    const first = indirect ? 0 : head;
    encodeDescriptor(table, first, DATA, 64, VIRTQ_DESC_F_NEXT, first + 1);
    encodeDescriptor(table, first + 1, DATA + 64, 4096, VIRTQ_DESC_F_WRITE, 0);
    if (indirect) driver.writeDescriptor(head, at, 32, VIRTQ_DESC_F_INDIRECT, 0);
  }
  return { driver, device: new DeviceRing(memory, layout, options) };
}

const chain = new Chain(SIZE);
const used = { head: 0, length: 0 };

function offerAll(driver: DriverRing): void {
  for (let i = 0; i < CHAINS; i++) driver.offer(2 * i);
  driver.publish();
}

function serveAll(device: DeviceRing, each?: (chain: Chain) => void): void {
  device.disableNotifications();
  while (device.pop(chain)) {
    each?.(chain);
    device.complete(chain.head, 8);
    device.needsInterrupt();
  }
  device.enableNotifications();
}

function takeAll(driver: DriverRing): void {
  while (driver.takeUsed(used));
}

function benchDevice(
  name: string,
  { eventIdx = false, indirect = false, each }: {
    eventIdx?: boolean;
    indirect?: boolean;
    each?: (chain: Chain) => void;
  },
): void {
  const { driver, device } = makePair(eventIdx, indirect);
  Deno.bench(`device: pop, complete, needsInterrupt; ${name}`, (b) => {
    offerAll(driver);
    b.start();
    serveAll(device, each);
    b.end();
    takeAll(driver);
  });
}

const data = new Uint8Array(4096);
benchDevice("flags", {});
benchDevice("event indices", { eventIdx: true });
benchDevice("indirect", { indirect: true });
benchDevice("32 bytes read", { each: (chain) => chain.gather(0, data, 0, 32) });
benchDevice("64 bytes read, 8 written", {
  each: (chain) => {
    chain.gather(0, data, 0, 64);
    chain.scatter(0, data, 0, 8);
  },
});
benchDevice("4096 bytes written", { each: (chain) => chain.scatter(0, data) });

{
  const { driver, device } = makePair(false, false);
  Deno.bench("device: walk", (b) => {
    offerAll(driver);
    while (device.pop(chain));
    b.start();
    for (let i = 0; i < CHAINS; i++) device.walk(2 * i, chain);
    b.end();
    for (let i = 0; i < CHAINS; i++) device.complete(2 * i, 8);
    takeAll(driver);
  });
}

for (const eventIdx of [false, true]) {
  const how = eventIdx ? "event indices" : "flags";
  const { driver, device } = makePair(eventIdx, false);
  Deno.bench(`driver: writeDescriptor × 2, offer, publish, needsKick; ${how}`, (b) => {
    b.start();
    for (let head = 0; head < 2 * CHAINS; head += 2) {
      driver.writeDescriptor(head, DATA, 64, VIRTQ_DESC_F_NEXT, head + 1);
      driver.writeDescriptor(head + 1, DATA + 64, 4096, VIRTQ_DESC_F_WRITE, 0);
      driver.offer(head);
      driver.publish();
      driver.needsKick();
    }
    b.end();
    serveAll(device);
    takeAll(driver);
  });
}

{
  const { driver, device } = makePair(false, false);
  Deno.bench("driver: takeUsed", (b) => {
    offerAll(driver);
    serveAll(device);
    b.start();
    takeAll(driver);
    b.end();
  });
}
