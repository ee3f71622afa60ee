// SPDX-License-Identifier: Apache-2.0
/**
 * The CAN driver, as Linux's virtio_can: the rx queue is filled with buffers during the probe, and each buffer goes back as
 * soon as its frame is read; START and STOP go with the interface; frames are sent as far as the tx queue has room.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import { RequestQueue } from "../../guest/request_queue.ts";
import type { DriverContract, DriverRole, Patience } from "../../guest/role.ts";
import type { MmioDevice, VirtQueue } from "../../guest/transport.ts";
import { waitFor } from "../../guest/wait_for.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { can } from "./class.ts";
import {
  type CanFrame,
  CONTROL_SIZE,
  decodeFrame,
  encodeFrame,
  F_CAN_CLASSIC,
  F_CAN_FD,
  F_LATE_TX_ACK,
  F_RTR_FRAMES,
  FRAME_HEADER_SIZE,
  MAX_CLASSIC_DATA,
  MAX_DLEN,
  MAX_FRAME_SIZE,
  RESULT_NOT_OK,
  RESULT_OK,
  RESULT_SIZE,
  RX,
  S_CTRL_BUSOFF,
  SET_CTRL_MODE_START,
  SET_CTRL_MODE_STOP,
  TX,
} from "./wire.ts";

/** The features that the driver accepts. */
const FEATURES = bit(F_CAN_CLASSIC) | bit(F_CAN_FD) | bit(F_RTR_FRAMES) | bit(F_LATE_TX_ACK);
/** Most frames on their way at once. */
const MOST_IN_FLIGHT = 128;
/** Most received frames that wait to be read by the owner; later ones are dropped. */
const MOST_UNREAD = 65536;
/** Room for a frame and its result, rounded up. */
const TX_SLOT_BYTES = 128;

/** What the driver shows. */
const PROGRESS = {
  states: ["started", "bus-off"],
  totals: ["received", "sent", "notSent", "malformed", "unread", "busOffs"],
  words: [],
  numbers: [],
} as const;

/** What the CAN driver and its guest's owner agree on. */
export interface CanDriverContract extends DriverContract {
  found: {
    /** Whether the interface has FD frames. */
    isFd: boolean;
  };
  calls: {
    /** Starts the controller, as `ip link set can0 up` does; also after bus-off. */
    start(): void;
    /** Stops it. */
    stop(): void;
    /** Sends frames, in order. @returns how many were sent, as the device says */
    send(frames: readonly CanFrame[]): number;
    /**
     * The next frames that were received, in order.
     *
     * @param count How many are waited for
     * @returns fewer when the owner wants it to end
     */
    receive(count: number): CanFrame[];
  };
  progress: typeof PROGRESS;
}

/** A frame on its way. */
interface Sending {
  readonly address: number;
}

/** A bound CAN device. */
class CanDriver {
  readonly #device: MmioDevice<typeof PROGRESS>;
  readonly #patience: Patience;
  readonly #tx: VirtQueue<Sending>;
  readonly #rx: VirtQueue<number>;
  readonly #control: RequestQueue;
  /** Guest addresses of tx slots that are free. */
  readonly #slots: number[] = [];
  readonly #rxBytes: number;
  readonly #frame = new Uint8Array(MAX_FRAME_SIZE);
  #unread: CanFrame[] = [];
  #inFlight = 0;

  constructor(device: MmioDevice<typeof PROGRESS>, patience: Patience) {
    this.#device = device;
    this.#patience = patience;
    this.#rxBytes = FRAME_HEADER_SIZE + (this.isFd ? MAX_DLEN : MAX_CLASSIC_DATA);
    this.#tx = device.setUpQueue<Sending>(
      "tx",
      (sending, written) => this.#onSent(sending, written),
    );
    this.#rx = device.setUpQueue<number>(
      "rx",
      (address, written) => this.#onReceived(address, written),
    );
    this.#control = new RequestQueue(device, "control", patience.controlTimeoutMs);
    this.#allocate();
    this.#rx.kick();
  }

  get isFd(): boolean {
    return hasFeature(this.#device.features, F_CAN_FD);
  }

  #allocate(): void {
    const { pages } = this.#device;
    const count = Math.min(MOST_IN_FLIGHT, this.#tx.queue.ring.size);
    const slots = pages.allocate(count * TX_SLOT_BYTES);
    for (let i = 0; i < count; i++) this.#slots.push(slots + i * TX_SLOT_BYTES);
    const { size } = this.#rx.queue.ring;
    const buffers = pages.allocate(size * this.#rxBytes);
    for (let i = 0; i < size; i++) this.#offer(buffers + i * this.#rxBytes);
  }

  #offer(address: number): void {
    this.#rx.add([{ address, length: this.#rxBytes, writable: true }], address);
  }

  #onReceived(address: number, written: number): void {
    const { pages, progress } = this.#device;
    const bytes = pages.bytes(address, Math.min(written, this.#rxBytes)).slice();
    const frame = decodeFrame(bytes, RX);
    if (frame === null || !this.#isNegotiated(frame)) progress.count("malformed");
    else if (this.#unread.length >= MOST_UNREAD) progress.count("unread");
    else {
      this.#unread.push(frame);
      progress.count("received");
    }
    this.#offer(address);
    this.#rx.kick();
  }

  #isNegotiated({ isFd, isRtr }: CanFrame): boolean {
    const { features } = this.#device;
    return hasFeature(features, isFd ? F_CAN_FD : F_CAN_CLASSIC) &&
      (!isRtr || hasFeature(features, F_RTR_FRAMES));
  }

  #onSent({ address }: Sending, written: number): void {
    const { pages, progress } = this.#device;
    const isTold = written >= RESULT_SIZE;
    const result = isTold ? pages.view(address + MAX_FRAME_SIZE, 1).getUint8(0) : RESULT_NOT_OK;
    const isOk = result === RESULT_OK && progress.state !== "bus-off";
    progress.count(isOk ? "sent" : "notSent");
    this.#slots.push(address);
    this.#inFlight--;
  }

  /** The status is looked at when the device says that it changed. */
  configChanged(): void {
    const { progress } = this.#device;
    const isBusOff = (this.#device.readConfig(0, 2) & S_CTRL_BUSOFF) !== 0;
    if (!isBusOff || progress.state !== "started") return;
    progress.state = "bus-off";
    progress.count("busOffs");
  }

  start(): void {
    this.#ask("START", SET_CTRL_MODE_START);
    this.#device.progress.state = "started";
  }

  stop(): void {
    this.#ask("STOP", SET_CTRL_MODE_STOP);
    this.#device.progress.state = "bound";
  }

  #ask(what: string, type: number): void {
    const request = new Uint8Array(CONTROL_SIZE);
    new DataView(request.buffer).setUint16(0, type, true);
    const answer = this.#control.send(what, request, Uint8Array.of(RESULT_NOT_OK)).getUint8(0);
    if (answer === RESULT_OK) return;
    throw this.#control.error("EIO", what, `the device answers ${answer}, expected ${RESULT_OK}`);
  }

  send(frames: readonly CanFrame[]): number {
    const { progress } = this.#device;
    const before = progress.get("sent");
    for (const frame of frames) {
      this.#await("a frame to leave", () => this.#slots.length > 0);
      if (this.#device.isToEnd()) break;
      this.#send(frame);
    }
    this.#await("the last frames to leave", () => this.#inFlight === 0);
    return progress.get("sent") - before;
  }

  /** The interface is down unless the controller is started, and takes no frames. */
  #send(frame: CanFrame): void {
    const { pages, progress, name } = this.#device;
    if (progress.state !== "started") {
      throw new GuestError("ENETDOWN", `send a frame by ${name}: it is ${progress.state}`);
    }
    const address = this.#slots.pop()!;
    const length = encodeFrame(this.#frame, TX, frame);
    pages.bytes(address, length).set(this.#frame.subarray(0, length));
    const result = address + MAX_FRAME_SIZE;
    this.#tx.add([
      { address, length, writable: false },
      { address: result, length: RESULT_SIZE, writable: true },
    ], { address });
    this.#inFlight++;
    this.#tx.kick();
  }

  receive(count: number): CanFrame[] {
    this.#await(`${count} frames`, () => this.#unread.length >= count);
    return this.#unread.splice(0, count);
  }

  /** Waits until a condition is true, or the owner ends the call. */
  #await(what: string, isSo: () => boolean): void {
    waitFor(this.#device, what, isSo, this.#patience.stallTimeoutMs);
  }

  /** Sends a frame, and checks its result. */
  exercise(): void {
    const { progress, name } = this.#device;
    if (progress.state !== "started") this.start();
    const data = Uint8Array.of(1, 2, 3);
    const kind = { isExtended: false, isFd: false, isRtr: false };
    if (this.send([{ id: 0x123, ...kind, length: data.length, data }]) === 1) return;
    throw new GuestError("EIO", `use ${name}: a frame was not sent`);
  }

  shutDown(): void {
    if (this.#device.progress.state !== "bound") this.stop();
  }
}

/** The software CAN driver. */
export const driver: DriverRole<CanDriverContract> = {
  deviceClass: can,
  progress: PROGRESS,
  bind: (device, patience) => {
    const bound = device.bind(can.id, FEATURES, () => new CanDriver(device, patience));
    return {
      found: { isFd: bound.isFd },
      calls: {
        start: () => bound.start(),
        stop: () => bound.stop(),
        send: (frames) => bound.send(frames),
        receive: (count) => bound.receive(count),
      },
      exercise: () => bound.exercise(),
      configChanged: () => bound.configChanged(),
      shutDown: () => bound.shutDown(),
    };
  },
};
