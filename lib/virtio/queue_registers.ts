// SPDX-License-Identifier: Apache-2.0
/**
 * The registers through which a driver sets queues up and takes them back (virtio 1.2, §4.2.3.2 and §4.2.4).
 *
 * @module
 */
import { VIRTIO_F_RING_RESET } from "./features.ts";
import { hex, type Machine } from "./register_machine.ts";
import type { RingLayout } from "./ring_layout.ts";
import {
  ACCESS_COUNTERS,
  type AccessQueue,
  type DeviceState,
  isPowerOfTwo,
  type QueueState,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
} from "./state.ts";

/**
 * Where a queue lies that the driver has set up, in guest addresses. Unless the driver is made to wait meanwhile, compare
 * the queue's epoch before and after.
 *
 * @throws {RangeError} if there is no such queue or it is not ready
 */
export function queueLayout(state: DeviceState, index: number): RingLayout {
  const queue = state.queues[index];
  if (!queue?.ready) throw new RangeError(`Cannot lay out queue ${index}: it is not set up`);
  const { num: size, desc, avail, used } = queue;
  return { index, size, desc, avail, used };
}

function selectedQueue(m: Machine): AccessQueue | undefined {
  return m.state.queues[m.state.queueSel];
}

/** The selected queue for a write; none is the driver's fault. */
function queueToWrite(m: Machine, register: string): AccessQueue | undefined {
  const queue = selectedQueue(m);
  if (queue === undefined) {
    m.refuse("no queue", `Cannot write ${register}: queue ${noQueue(m, m.state.queueSel)}`);
  }
  return queue;
}

/** Makes the write function of a register that is one word of a queue's set-up. */
export function setUpWord(word: number): (m: Machine, value: number) => void {
  return (m, value) => {
    const queue = queueToWrite(m, "the set-up");
    if (queue === undefined) return;
    if (!queue.ready) return queue.setWord(word, value);
    m.refuse(`busy ${queue.index}`, `Cannot change queue ${queue.index}: it is set up already`);
  };
}

/** At any time: a kernel that follows another one says its own before it resets what that one left. */
export function writeGuestPageSize(m: Machine, value: number): void {
  if (isPowerOfTwo(value)) m.state.setGuestPageSize(value);
  else m.refuse("page size", `Cannot set GuestPageSize ${value}: expected a power of 2`);
}

export function readQueuePfn(m: Machine): number {
  const queue = selectedQueue(m);
  return queue?.ready ? (queue.desc / m.state.guestPageSize) >>> 0 : 0;
}

export function writeQueuePfn(m: Machine, pfn: number): void {
  const queue = queueToWrite(m, "QueuePFN");
  if (queue === undefined) return;
  if (pfn === 0) return takeBack(m, queue);
  // The loopback driver has taken a place for it by now, whatever becomes of it here.
  if (m.state.maxQueueSetups > 0) m.state.countQueueSetup();
  if (!queue.ready) queue.placeLegacy(pfn * m.state.guestPageSize);
  setUp(m, queue);
}

export function readQueueReady(m: Machine): number {
  return selectedQueue(m)?.ready ? 1 : 0;
}

export function writeQueueReady(m: Machine, value: number): void {
  const queue = queueToWrite(m, "QueueReady");
  if (queue === undefined) return;
  if (value === 0) return takeBack(m, queue);
  if (value === 1) return setUp(m, queue);
  m.refuse(
    "ready",
    `Cannot write QueueReady ${hex(value)} of queue ${queue.index}: expected 0 or 1`,
  );
}

export function writeQueueReset(m: Machine, value: number): void {
  const queue = queueToWrite(m, "QueueReset");
  if (queue === undefined) return;
  const agreed = (m.state.status & STATUS_FEATURES_OK) !== 0 &&
    m.state.driverHas(VIRTIO_F_RING_RESET);
  if (agreed && value === 1) return takeBack(m, queue);
  const fault = agreed ? "expected 1" : "VIRTIO_F_RING_RESET is not agreed on";
  m.refuse("queue reset", `Cannot write QueueReset ${value} of queue ${queue.index}: ${fault}`);
}

/** 0 where there is no such queue (§4.2.2), and where the node has no room for this probe's queues. */
export function readQueueNumMax(m: Machine): number {
  const queue = selectedQueue(m);
  if (queue === undefined) return 0;
  const fault = probeFault(m.state);
  if (fault === null) return queue.numMax;
  m.refuse("queue set-ups", `Cannot let a driver probe the device again: ${fault}`);
  return 0;
}

/**
 * Why this probe's queues must not be set up, or null. A probe is refused as a whole, before its first queue: the queues
 * of this probe that are set up already are not counted against it.
 */
export function probeFault(state: DeviceState): string | null {
  const { maxQueueSetups: max, queueSetups, queueCount } = state;
  if (max === 0) return null;
  const before = queueSetups - state.queues.filter(({ ready }) => ready).length;
  if (before + queueCount <= max) return null;
  return `the loopback driver has room for ${max} queue set-ups of virtio-mmio version 1 in its life, ` +
    `${before} are used, and the device has ${queueCount} queues ` +
    "(restart the machine; --mmio-version 2 has no such limit)";
}

/** The driver says that the queue is set up: from here on it may be notified. */
function setUp(m: Machine, queue: AccessQueue): void {
  const kind = `queue ${queue.index}`;
  if (queue.ready) {
    return m.refuse(kind, `Cannot set up queue ${queue.index}: it is set up already`);
  }
  const fault = setUpFault(m.state, queue);
  if (fault === null) queue.makeReady();
  else m.break(kind, `Cannot set up queue ${queue.index}: ${fault}`);
}

function setUpFault(state: DeviceState, queue: QueueState): string | null {
  const { status } = state;
  const first = state.mmioVersion === 2 ? STATUS_FEATURES_OK : STATUS_DRIVER;
  if ((status & first) === 0) return `status is ${hex(status)}, expected ${hex(first)} in it`;
  // Rings are started at DRIVER_OK: one that comes later would never be looked at.
  if (status & STATUS_DRIVER_OK && !state.driverHas(VIRTIO_F_RING_RESET)) {
    return `status is ${hex(status)}, expected before DRIVER_OK`;
  }
  if (state.mmioVersion === 1 && state.guestPageSize === 0) return "GuestPageSize is not set";
  if (state.queueSetups > state.maxQueueSetups) return "QueueNumMax was 0";
  return queue.fault();
}

function takeBack(m: Machine, queue: AccessQueue): void {
  if (!queue.ready) return; // Linux does so to every queue after a reset
  queue.reset();
  m.events.queueReset(queue.index);
}

export function writeQueueNotify(m: Machine, index: number): void {
  const queue = m.state.queues[index];
  if (queue?.ready) {
    m.state.count(ACCESS_COUNTERS.notifications);
    return m.events.notify(index);
  }
  const fault = queue === undefined ? noQueue(m, index) : `${index} is not set up`;
  m.refuse("notify", `Cannot notify: queue ${fault}`);
}

function noQueue(m: Machine, index: number): string {
  return `${index} does not exist, expected less than ${m.state.queueCount}`;
}
