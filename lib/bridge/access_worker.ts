// SPDX-License-Identifier: Apache-2.0
/**
 * The access Worker of a lane: answers register accesses of all its devices, highest priority first, and turns
 * QUEUE_NOTIFY into a kick. It never waits for the kernel or a back-end, because the driver, the application above it and
 * the interrupt handler all wait for this thread. An answer that depends on a back-end is held, and other devices are
 * served meanwhile.
 *
 * @module
 */
import {
  Epoll,
  EPOLLET,
  EPOLLIN,
  OWNER_KEY,
  PeerSignal,
  placeThread,
  type Report,
  serveBlocking,
  signalEvent,
  viewMemory,
} from "../../ffi/mod.ts";
import { SharedPage } from "../loopback/page.ts";
import { type LoopbackPort, ring } from "../loopback/port.ts";
import { RegisterFile, STATUS_OFFSET } from "../virtio/registers.ts";
import {
  ACCESS_QUEUE_COUNTERS,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
} from "../virtio/state.ts";
import { AccessState } from "../virtio/state_writers.ts";
import { arm } from "./arming.ts";
import { awaitUnused } from "./memory_use.ts";
import type { AccessContract, AccessEvent, LaneDevice } from "./lane_messages.ts";
import { Schedule, type Scheduled } from "./schedule.ts";

/** One device: its page on one side, its registers on the other. */
class AccessDevice implements Scheduled {
  readonly priority: number;
  ready = false;
  readonly #report: Report<AccessEvent>;
  readonly #state: AccessState;
  readonly #port: LoopbackPort;
  readonly #page: SharedPage;
  readonly #registers: RegisterFile;
  readonly #signal: PeerSignal;
  /** By queue: the kick eventfd of a back-end that serves it in the driver's memory. */
  #direct: readonly (number | undefined)[] = [];
  /** The current access is answered later, when the main isolate calls `release`. */
  #held = false;
  /** The current access is a kick. */
  #kicked = false;

  constructor(readonly device: LaneDevice, signal: PeerSignal, report: Report<AccessEvent>) {
    const { id, port, memoryUse } = device;
    const state = AccessState.open(viewMemory(device.state));
    this.priority = device.priority;
    this.#report = report;
    this.#signal = signal;
    this.#state = state;
    this.#port = port;
    this.#page = new SharedPage(viewMemory(port.page));
    let wasRunning = (state.status & STATUS_DRIVER_OK) !== 0;
    this.#registers = new RegisterFile(state, {
      notify: (queue) => {
        state.queues[queue]!.count(ACCESS_QUEUE_COUNTERS.kicks);
        this.#notify(queue);
        this.#kicked = true;
      },
      statusChanged: (status) => {
        const isRunning = (status & STATUS_DRIVER_OK) !== 0;
        // Linux allows a device's first requests one second from here, so the rings must be served by then.
        this.#held = isRunning && !wasRunning;
        wasRunning = isRunning;
        report({ id, kind: "status", status, held: this.#held });
      },
      reset: () => {
        awaitUnused(memoryUse);
        // A back-end that uses the driver's own memory must be stopped before the driver frees it.
        this.#held = wasRunning && device.memory === "direct";
        wasRunning = false;
        report({ id, kind: "reset", held: this.#held });
      },
      queueReset: () => awaitUnused(memoryUse),
      configWritten: (offset, size) => {
        // With forwarded config the next read may depend on this write, so the back-end must have seen it first.
        const held = this.#held = device.config === "forwarded";
        const bytes = state.config.slice(offset, offset + size);
        report({ id, kind: "config", offset, bytes, held });
      },
      badAccess: (text) => report({ id, kind: "bad access", text }),
    }, device.featureNames);
  }

  /** The eventfd that announces an access. */
  get doorbell(): number {
    return this.#port.doorbell;
  }

  /** Repeats the access that the previous process left unanswered; a DRIVER_OK that it held stays held. */
  restore(): void {
    const page = this.#page;
    const { status } = this.#state;
    const isStart = page.pending && !page.isRead && page.offset === STATUS_OFFSET &&
      (page.data & status & STATUS_DRIVER_OK) !== 0;
    if (isStart) {
      this.#held = true;
      this.#report({ id: this.device.id, kind: "status", status, held: true });
    }
    this.serve();
  }

  serve(): void {
    this.ready = false;
    const page = this.#page;
    if (!page.pending) return;
    if (page.isRead) page.answer(this.#registers.read(page.offset, page.size));
    else this.#registers.write(page.offset, page.size, page.data);
    if (!this.#held) this.#finish();
    if (this.#kicked) this.#arm();
  }

  /** After the answer, which the driver waits for. */
  #arm(): void {
    this.#kicked = false;
    if (arm(this.device.arming)) this.#report({ id: this.device.id, kind: "kicked" });
  }

  /** Sets DEVICE_NEEDS_RESET. Runs on the thread that serves resets, so a later epoch is never marked by mistake. */
  needReset(epoch: number): void {
    if (this.#state.epoch !== epoch) return;
    this.#state.orStatus(STATUS_DEVICE_NEEDS_RESET);
    const { status } = this.#state;
    this.#report({ id: this.device.id, kind: "status", status, held: false });
  }

  #notify(queue: number): void {
    const direct = this.#direct[queue];
    if (direct !== undefined) this.#signal.signal(direct);
    else signalEvent(this.device.kicks[queue]!); // no other process holds it
  }

  /** Routes QUEUE_NOTIFY to these eventfds, by queue; where one is missing, to that of the device. */
  route(direct: readonly (number | undefined)[]): void {
    this.#direct = direct;
  }

  /** Answers the access that was held. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#finish();
  }

  #finish(): void {
    if (this.#port.setsDone) this.#page.finish();
    ring(this.#port.wakeup, this.#signal);
  }
}

serveBlocking<AccessContract>((options, report) => {
  placeThread(options);
  const epoll = Epoll.create();
  const signal = PeerSignal.create();
  const devices = new Map<number, AccessDevice>();
  const schedule = new Schedule<AccessDevice>();
  const { found } = epoll;
  return {
    epoll,
    handlers: {
      add: (lane) => {
        const device = new AccessDevice(lane, signal, report);
        devices.set(lane.id, device);
        schedule.add(device);
        // Edge-triggered: each signal is reported once, and the eventfd never needs to be read.
        epoll.add(device.doorbell, EPOLLIN | EPOLLET, lane.id);
        if (lane.restored) device.restore();
      },
      remove: (id) => {
        const device = devices.get(id);
        if (device === undefined) return;
        epoll.remove(device.doorbell);
        schedule.remove(device);
        devices.delete(id);
      },
      route: (id, kicks) => devices.get(id)?.route(kicks),
      release: (id) => devices.get(id)?.release(),
      needReset: (id, epoch) => devices.get(id)?.needReset(epoch),
    },
    turn(n: number): void {
      for (let i = 0; i < n; i++) {
        const key = found[2 * i]!;
        if (key !== OWNER_KEY) devices.get(key)!.ready = true;
      }
      for (let device = schedule.next(); device !== null; device = schedule.next()) device.serve();
    },
    close: () => {
      epoll.close();
      signal.close();
    },
  };
});
