// SPDX-License-Identifier: Apache-2.0
/**
 * The registers by which a driver sets queues up and resets them (virtio 1.2, §4.2.3.2 and §4.2.4).
 *
 * @module
 */
import { VIRTIO_F_RING_RESET } from "./features.ts";
import { hex, type RegisterContext } from "./register_context.ts";
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
 * Guest addresses of a queue that the driver has set up. Unless the driver is made to wait meanwhile, compare
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

function selectedQueue(m: RegisterContext): AccessQueue | undefined {
  return m.state.queues[m.state.queueSel];
}

/** The selected queue, for a write; reports a bad access if there is none. */
function queueToWrite(m: RegisterContext, register: string): AccessQueue | undefined {
  const queue = selectedQueue(m);
  if (queue === undefined) {
    m.refuse("no queue", `Cannot write ${register}: queue ${noQueue(m, m.state.queueSel)}`);
  }
  return queue;
}

/** Makes the write function of a register that is one word of a queue's set-up. */
export function setUpWord(word: number): (m: RegisterContext, value: number) => void {
  return (m, value) => {
    const queue = queueToWrite(m, "the set-up");
    if (queue === undefined) return;
    if (!queue.ready) return queue.setWord(word, value);
    m.refuse(`busy ${queue.index}`, `Cannot change queue ${queue.index}: it is set up already`);
  };
}

/** Allowed at any time: a new kernel writes its page size before it resets a device that an earlier kernel left. */
export function writeGuestPageSize(m: RegisterContext, value: number): void {
  if (isPowerOfTwo(value)) m.state.setGuestPageSize(value);
  else m.refuse("page size", `Cannot set GuestPageSize ${value}: expected a power of 2`);
}

export function readQueuePfn(m: RegisterContext): number {
  const queue = selectedQueue(m);
  return queue?.ready ? (queue.desc / m.state.guestPageSize) >>> 0 : 0;
}

export function writeQueuePfn(m: RegisterContext, pfn: number): void {
  const queue = queueToWrite(m, "QueuePFN");
  if (queue === undefined) return;
  if (pfn === 0) return takeBack(m, queue);
  // The loopback driver has used up an entry of its array by now, even if the set-up fails here.
  if (m.state.maxQueueSetups > 0) m.state.countQueueSetup();
  if (!queue.ready) queue.placeLegacy(pfn * m.state.guestPageSize);
  setUp(m, queue);
}

export function readQueueReady(m: RegisterContext): number {
  return selectedQueue(m)?.ready ? 1 : 0;
}

export function writeQueueReady(m: RegisterContext, value: number): void {
  const queue = queueToWrite(m, "QueueReady");
  if (queue === undefined) return;
  if (value === 0) return takeBack(m, queue);
  if (value === 1) return setUp(m, queue);
  m.refuse(
    "ready",
    `Cannot write QueueReady ${hex(value)} of queue ${queue.index}: expected 0 or 1`,
  );
}

export function writeQueueReset(m: RegisterContext, value: number): void {
  const queue = queueToWrite(m, "QueueReset");
  if (queue === undefined) return;
  const agreed = (m.state.status & STATUS_FEATURES_OK) !== 0 &&
    m.state.driverHas(VIRTIO_F_RING_RESET);
  if (agreed && value === 1) return takeBack(m, queue);
  const fault = agreed ? "expected 1" : "VIRTIO_F_RING_RESET is not negotiated";
  m.refuse("queue reset", `Cannot write QueueReset ${value} of queue ${queue.index}: ${fault}`);
}

/** 0 if there is no such queue (§4.2.2), or if the node has no room for the queues of this probe. */
export function readQueueNumMax(m: RegisterContext): number {
  const queue = selectedQueue(m);
  if (queue === undefined) return 0;
  const fault = probeFault(m.state);
  if (fault === null) return queue.numMax;
  m.refuse("queue set-ups", `Cannot let a driver probe the device again: ${fault}`);
  return 0;
}

/**
 * Why the queues of this probe must not be set up, or null. A probe is refused before its first queue is set up: queues
 * that it has set up already do not count.
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

/** The driver has set the queue up: from here on it may notify. */
function setUp(m: RegisterContext, queue: AccessQueue): void {
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
  // Rings are started at DRIVER_OK: a later one would never be served.
  if (status & STATUS_DRIVER_OK && !state.driverHas(VIRTIO_F_RING_RESET)) {
    return `status is ${hex(status)}, expected before DRIVER_OK`;
  }
  if (state.mmioVersion === 1 && state.guestPageSize === 0) return "GuestPageSize is not set";
  if (state.queueSetups > state.maxQueueSetups) return "QueueNumMax was 0";
  return queue.fault();
}

function takeBack(m: RegisterContext, queue: AccessQueue): void {
  if (!queue.ready) return; // Linux writes 0 to every queue after a reset
  queue.reset();
  m.events.queueReset(queue.index);
}

export function writeQueueNotify(m: RegisterContext, index: number): void {
  const queue = m.state.queues[index];
  if (queue?.ready) {
    m.state.count(ACCESS_COUNTERS.notifications);
    return m.events.notify(index);
  }
  const fault = queue === undefined ? noQueue(m, index) : `${index} is not set up`;
  m.refuse("notify", `Cannot notify: queue ${fault}`);
}

function noQueue(m: RegisterContext, index: number): string {
  return `${index} does not exist, expected less than ${m.state.queueCount}`;
}
