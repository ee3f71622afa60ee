// SPDX-License-Identifier: Apache-2.0
// What an embedded device is given and told, whatever its class.
import { assertEquals } from "@std/assert";
import { EPOLLET, EPOLLIN, EventFd, signalEvent } from "../../ffi/mod.ts";
import type {
  DeviceContract,
  DeviceHost,
  DeviceRole,
  VirtioDevice,
} from "../../lib/device/role.ts";
import type { Chain } from "../../lib/virtio/chain.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../../lib/virtio/features.ts";
import { DeviceBench, Wiring } from "./wiring.ts";

/** Of these two the wiring gives the first event indices. */
const VQ_EVENTS = [0, 1];
const F_LOUD = 3;

/** A class of a device that waits for buffers of events. */
const bell: DeviceClass = {
  id: 0x3ffe, // No device of the standard's.
  name: "bell",
  summary: "what was rung is told when there is a buffer for it",
  dropInNames: [],
  queues: () => [
    ...VQ_EVENTS.map((index) => ({ name: `event${index}`, kind: "event", size: 16 } as const)),
    { name: "request", kind: "request", size: 16 },
  ],
  config: { min: 0, max: 0, access: "cached", required: false },
  featureNames: { [F_LOUD]: "LOUD" },
  masked: 0n,
  roles: {},
};

class Bell implements VirtioDevice {
  readonly features = bit(F_LOUD);
  accepted = 0n;
  /** The queue that buffers are taken of. */
  events = 0;
  /** Rings that no buffer has told of yet. */
  rings = 0;
  turns = 0;

  constructor(readonly host: DeviceHost) {}

  featuresAccepted(features: bigint): void {
    this.accepted = features;
  }

  serve(queue: number, chain: Chain): void {
    this.host.complete(queue, chain, 0);
  }

  tick(): void {
    this.turns++;
    while (this.rings > 0) {
      const chain = this.host.take(this.events);
      if (chain === null) return;
      this.rings--;
      this.host.complete(this.events, chain, chain.scatter(0, Uint8Array.of(7)));
    }
  }
}

/** A bell at its rings. */
function bellBench() {
  let made: Bell | null = null;
  const role: DeviceRole<DeviceContract> = {
    deviceClass: bell,
    check: () => {},
    create: (_, host) => made = new Bell(host),
  };
  const bench = new DeviceBench(role, {});
  return { bench, bell: made! as Bell, wiring: new Wiring(bench.device) };
}

for (const queue of VQ_EVENTS) {
  const index = queue === 0 ? "with" : "without";
  Deno.test(`a device that finds no event buffer takes a turn when there is one, ${index} event indices`, () => {
    const { bench, bell, wiring } = bellBench();
    using _ = bench;
    bell.events = queue;
    wiring.start();
    for (let round = 0; round < 70; round++) { // more than the ring has room for
      bell.rings = 2;
      bench.device.turn();
      assertEquals(bell.rings, 2);
      for (const token of [1, 2]) wiring.offer(queue, token, [], [1]);
      assertEquals(bell.rings, 0);
      for (const token of [1, 2]) assertEquals(wiring.queues[queue]!.take()?.token, token);
    }
  });
}

Deno.test("a device gets the features that the driver accepted", () => {
  const { bench, bell } = bellBench();
  using _ = bench;
  const chosen = bit(F_LOUD) | bit(VIRTIO_F_VERSION_1);
  bench.device.featuresAccepted(chosen);
  assertEquals(bell.accepted, chosen);
});

Deno.test("a device has a turn after each event on a descriptor it has watched", () => {
  const { bench, bell } = bellBench();
  using _ = bench;
  using fd = EventFd.create();
  const seen: number[] = [];
  using _watch = bell.host.watch(fd.number, EPOLLIN | EPOLLET, (events) => seen.push(events));
  signalEvent(fd.number);
  const { turns } = bell;
  bench.watches.dispatch(bench.watches.epoll.wait(0));
  assertEquals([seen, bell.turns], [[EPOLLIN], turns + 1]);
});
