// SPDX-License-Identifier: Apache-2.0
/**
 * A hostile driver: it starts a device of any class as it should, then breaks one rule, in a ring or in a sound message.
 */
import { GuestPages, PAGE_SIZE } from "../../lib/guest/pages.ts";
import { NO_PROGRESS, Progress } from "../../lib/guest/progress.ts";
import { type GuestPort, MmioDevice, REGISTER } from "../../lib/guest/transport.ts";
import { bit, hasFeature, VIRTIO_F_RING_INDIRECT_DESC } from "../../lib/virtio/features.ts";
import {
  type RingLayout,
  splitRingLayout,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../lib/virtio/split_ring.ts";
import { STATUS_DRIVER, STATUS_FEATURES_OK } from "../../lib/virtio/state.ts";
import type { MessageFault } from "./hostile_messages.ts";
import { BUFFER_BYTES, RawQueue, type RingFault } from "./hostile_rings.ts";

/** Number of queues by device id: entropy, sound. */
const QUEUE_COUNTS: Readonly<Record<number, number>> = { 4: 1, 25: 4 };

/** Drives a device of any class up to DRIVER_OK, then does to its rings whatever is asked. */
export class HostileDriver {
  readonly #device: MmioDevice;
  readonly queues: RawQueue[] = [];

  constructor(readonly port: GuestPort) {
    const pages = new GuestPages(port.memory, port.guestBase, port.memorySize);
    this.#device = new MmioDevice(
      port,
      pages,
      "hostile driver's device",
      new Progress(NO_PROGRESS),
    );
  }

  /**
   * Brings the device up from nothing: reset, features, queues, DRIVER_OK.
   *
   * @param indirect Whether to take indirect tables where they are offered
   * @param misplace Changes where the driver says that its rings are
   */
  bringUp(
    indirect: boolean,
    misplace: (ring: RingLayout, memoryEnd: number) => Partial<RingLayout> = () => ({}),
  ): void {
    const device = this.#device;
    this.queues.length = 0;
    device.pages.freeAll();
    device.identify();
    device.addStatus(STATUS_DRIVER);
    const taken = this.#negotiate(indirect);
    const count = QUEUE_COUNTS[device.identity.deviceId]!;
    for (let i = 0; i < count; i++) this.#setUp(i, taken, misplace);
    device.ready();
  }

  #negotiate(indirect: boolean): boolean {
    const device = this.#device;
    device.write(REGISTER.deviceFeaturesSel, 0);
    const offered = BigInt(device.read(REGISTER.deviceFeatures));
    const take = indirect && hasFeature(offered, VIRTIO_F_RING_INDIRECT_DESC);
    device.write(REGISTER.driverFeaturesSel, 1);
    device.write(REGISTER.driverFeatures, 1); // VERSION_1
    device.write(REGISTER.driverFeaturesSel, 0);
    device.write(REGISTER.driverFeatures, take ? Number(bit(VIRTIO_F_RING_INDIRECT_DESC)) : 0);
    device.addStatus(STATUS_FEATURES_OK);
    return take;
  }

  #setUp(
    index: number,
    indirect: boolean,
    misplace: (ring: RingLayout, memoryEnd: number) => Partial<RingLayout>,
  ): void {
    const { pages } = this.#device;
    this.#device.write(REGISTER.queueSel, index);
    const size = this.#device.read(REGISTER.queueNumMax);
    const base = pages.allocate(splitRingLayout(0, size, PAGE_SIZE).bytes);
    const layout = { index, size, ...splitRingLayout(base, size, PAGE_SIZE) };
    const queue = new RawQueue(pages, layout, pages.allocate(BUFFER_BYTES), indirect);
    this.queues.push(queue);
    this.#place({ ...layout, ...misplace(layout, queue.memoryEnd) });
  }

  #place({ size, desc, avail, used }: RingLayout): void {
    const device = this.#device;
    device.write(REGISTER.queueNum, size);
    if (device.identity.version === 1) {
      device.write(REGISTER.queueAlign, PAGE_SIZE);
      device.write(REGISTER.queuePfn, desc / PAGE_SIZE);
      return;
    }
    const parts = [
      [REGISTER.queueDesc, desc],
      [REGISTER.queueAvail, avail],
      [REGISTER.queueUsed, used],
    ] as const;
    for (const [register, address] of parts) {
      device.write(register, address % 2 ** 32);
      device.write(register + 4, Math.floor(address / 2 ** 32));
    }
    device.write(REGISTER.queueReady, 1);
  }

  /** Writes a fault into a queue's ring, and notifies. */
  writeRing(fault: RingFault, queue: number): void {
    fault.write(this.queues[queue]!);
    this.notify(queue);
  }

  /** Sends a malformed message, and notifies. */
  writeMessage({ queue: index, request, room }: MessageFault): void {
    const queue = this.queues[index]!;
    const segments = [
      { address: queue.put(0, request), length: request.length, flags: 0 },
      { address: queue.buffer + PAGE_SIZE, length: room, flags: WRITE },
    ].filter(({ length }) => length > 0);
    segments.forEach(({ address, length, flags }, i) => {
      const next = i + 1 < segments.length ? NEXT : 0;
      queue.descriptor(i, address, length, flags | next, i + 1);
    });
    queue.publish([0]);
    this.notify(index);
  }

  notify(queue: number): void {
    this.#device.write(REGISTER.queueNotify, queue);
  }

  /** The device's status. */
  get status(): number {
    return this.#device.read(REGISTER.status);
  }

  /** Bytes that the device says it wrote for the last chain of a queue it gave back, null when it gave none. */
  lastUsed(queue: number): { head: number; length: number } | null {
    const { pages, layout } = this.queues[queue]!;
    const used = pages.view(layout.used, 6 + 8 * layout.size);
    const idx = used.getUint16(2, true);
    if (idx === 0) return null;
    const at = 4 + 8 * ((idx - 1) % layout.size);
    return { head: used.getUint32(at, true), length: used.getUint32(at + 4, true) };
  }

  /** The device's idx of a queue. */
  usedIdx(queue: number): number {
    const { pages, layout } = this.queues[queue]!;
    return pages.view(layout.used, 4).getUint16(2, true);
  }

  /** Resets the device. */
  reset(): void {
    this.#device.write(REGISTER.status, 0);
  }
}
