// SPDX-License-Identifier: Apache-2.0
/**
 * A driver at the rings of an embedded device, without sockets, and a clock that goes when it is told to.
 *
 * @module
 */
import { type Clock, Watches } from "../../ffi/mod.ts";
import { Commands } from "../../lib/device/command.ts";
import { EmbeddedDevice } from "../../lib/device/embedded_device.ts";
import type { DeviceContract, DeviceEvent, DeviceRole } from "../../lib/device/role.ts";
import type { BackEndDevice, BackEndRing } from "../../lib/vhost_user/back_end.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  DeviceRing,
  DriverQueue,
  DriverRing,
  splitRingLayout,
} from "../../lib/virtio/split_ring.ts";

export class FakeClock implements Clock {
  time = 1e9;
  alarm = Infinity;
  onAlarm: () => void = () => {};

  now(): number {
    return this.time;
  }

  arm(ns: number): void {
    this.alarm = ns;
  }

  /** Lets milliseconds pass; alarms ring when they are due, at their time. */
  pass(ms: number): void {
    const end = this.time + ms * 1e6;
    while (this.alarm <= end) {
      this.time = Math.max(this.time, this.alarm);
      this.alarm = Infinity;
      this.onAlarm();
    }
    this.time = end;
  }

  /** Lets milliseconds pass in which the device does not run: then whatever was due rings late. */
  sleep(ms: number): void {
    this.time += ms * 1e6;
    this.pass(0);
  }
}

export class TestRing implements BackEndRing {
  onKick: () => void = () => {};
  calls = 0;
  /** The device has said that what it had is completed. */
  isDrained = false;
  failure: Error | null = null;

  constructor(readonly index: number, readonly ring: DeviceRing, readonly memory: GuestMemory) {}

  call(): void {
    if (this.ring.needsInterrupt()) this.calls++;
  }

  drained(): void {
    this.isDrained = true;
  }

  fail(error: Error): void {
    this.failure = error;
  }
}

const GUEST = 0x1_0000_0000;
const MEMORY_BYTES = 2 ** 22;
const RING_BYTES = 0x4000;
/** Most queues that a device can be wired with. */
const MOST_QUEUES = 8;
const HEAP = MOST_QUEUES * RING_BYTES;

/** Memory, queues and rings of a device of up to eight queues. */
export class Wiring {
  readonly buffer = new ArrayBuffer(MEMORY_BYTES);
  readonly bytes = new Uint8Array(this.buffer);
  readonly memory = new GuestMemory([{ guest: GUEST, buffer: this.buffer }]);
  readonly queues: DriverQueue<number>[] = [];
  readonly rings: TestRing[] = [];
  #next = HEAP;

  constructor(readonly device: BackEndDevice, size = 64, start = 65500) {
    for (let index = 0; index < device.queueCount; index++) {
      const layout = { index, size, ...splitRingLayout(GUEST + index * RING_BYTES, size) };
      const options = { indirect: true, eventIdx: index % 2 === 0, deviceName: device.name };
      // Indices wrap in every test.
      const tables = {
        memory: this.memory,
        address: GUEST + index * RING_BYTES + 0x2000,
        entries: 8,
      };
      const driver = new DriverRing(this.memory, layout, options, start);
      // Of the later queues, which carry data, buffers lie in indirect tables; of the others in the ring itself.
      this.queues.push(new DriverQueue(driver, index >= 2 ? tables : undefined));
      const ring = new DeviceRing(this.memory, layout, options, { nextAvail: start });
      this.rings.push(new TestRing(index, ring, this.memory));
    }
  }

  start(): void {
    for (const ring of this.rings) this.device.startRing(ring);
  }

  /** An offset of as many bytes that have not been given out for a long time. */
  allocate(length: number): number {
    if (this.#next + length > MEMORY_BYTES) this.#next = HEAP;
    const at = this.#next;
    this.#next += Math.ceil(length / 16) * 16;
    return at;
  }

  /** Offers a chain: pieces to read, then lengths to write. @returns where the pieces to write lie */
  offer(index: number, token: number, pieces: Uint8Array[], lengths: number[]): number[] {
    const readable = pieces.map((piece) => {
      const at = this.allocate(piece.length);
      this.bytes.set(piece, at);
      return { address: GUEST + at, length: piece.length, writable: false };
    });
    const places = lengths.map((length) => this.allocate(length));
    const writable = lengths.map((length, i) => ({
      address: GUEST + places[i]!,
      length,
      writable: true,
    }));
    const queue = this.queues[index]!;
    if (!queue.add([...readable, ...writable], token)) throw new Error("no room in the ring");
    if (queue.ring.needsKick()) this.rings[index]!.onKick();
    return places;
  }
}

/** How long commands may work on. */
export const COMMAND_MS = 30_000;

/** An embedded device of some class without a socket, and what it reported. */
export class DeviceBench<C extends DeviceContract> implements Disposable {
  readonly clock = new FakeClock();
  readonly events: (DeviceEvent | C["event"])[] = [];
  readonly watches = new Watches();
  /** The commands' own clock: it stands until it is told to go. */
  readonly commandClock = new FakeClock();
  readonly commands = new Commands(this.watches, {
    clock: this.commandClock,
    graceMs: COMMAND_MS,
    onKilled: (text) => this.events.push({ kind: "error", text }),
  });
  readonly device: EmbeddedDevice<C>;
  /** How often it said that its config space changed. */
  configChanges = 0;

  constructor(role: DeviceRole<C>, spec: C["spec"]) {
    const { clock, commands, watches } = this;
    this.device = new EmbeddedDevice(role, spec, {
      clock,
      watches,
      commands,
      controlPath: null,
      report: (event) => this.events.push(event),
      configChanged: () => this.configChanges++,
    });
  }

  /** Stops a queue as the back-end's session does, when the device has completed what it has of it. */
  stop(queue: number): void {
    while (!this.device.drainRing(queue)) this.watches.dispatch(this.watches.epoll.wait(-1));
    this.device.stopRing(queue, false);
  }

  /** Ends what it runs. */
  [Symbol.dispose](): void {
    this.device.close();
    this.commands.close();
    this.watches.close();
  }
}
