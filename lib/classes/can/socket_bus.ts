// SPDX-License-Identifier: Apache-2.0
/**
 * A CAN interface of the host (SocketCAN) as a bus.
 *
 * @module
 */
import {
  CANFD_FRAME_SIZE,
  CanSocket,
  EPOLLIN,
  MSG_CONFIRM,
  OsError,
  type Watch,
  WOULD_BLOCK,
} from "../../../ffi/mod.ts";
import { type DeviceHost, SpecError } from "../../device/role.ts";
import type { Bus, BusEvents, BusSpec, Sending } from "./bus.ts";
import { decodeSocketFrame, encodeSocketFrame } from "./socket_frame.ts";
import type { CanFrame } from "./wire.ts";

/** A raw CAN socket, or what stands for one in tests. */
export type RawCan = Pick<
  CanSocket,
  "number" | "flags" | "overflows" | "bound" | "takeBound" | "send" | "receive" | "close"
>;

/** Watches a descriptor. */
type WatchFd = DeviceHost["watch"];

/** Frames read from the socket in one turn; epoll reports the rest again. */
const MOST_AT_ONCE = 256;
/** Frames that were accepted and are not confirmed yet: more than any interface queues. */
const MOST_UNCONFIRMED = 1024;
const ENODEV = -19;
const ENETDOWN = -100;
const ENOBUFS = -105;

/** A controller on an interface of the host. */
export class SocketBus implements Bus {
  /** Until the socket is bound, that it is; then that frames have come. */
  #watch: Watch;
  #isBound = false;
  readonly #frame = new Uint8Array(CANFD_FRAME_SIZE);
  /** Frames that were accepted and not confirmed. */
  #unconfirmed = 0;
  #overflows = 0;
  /** The interface is down, which was reported. */
  #isDown = false;

  constructor(
    readonly name: string,
    readonly socket: RawCan,
    readonly events: BusEvents,
    watch: WatchFd,
  ) {
    this.#watch = watch(socket.bound.number, EPOLLIN, () => this.#bind(watch));
  }

  #bind(watch: WatchFd): void {
    const result = this.socket.takeBound();
    if (result === null) return;
    if (result < 0) {
      return this.events.busOff(new OsError(`open CAN interface ${this.name}`, -result).message);
    }
    this.#watch.close();
    this.#watch = watch(this.socket.number, EPOLLIN, () => this.#receive());
    this.#isBound = true;
  }

  send(frame: CanFrame): Sending {
    if (!this.#isBound || this.#unconfirmed >= MOST_UNCONFIRMED) return "full";
    const result = this.socket.send(encodeSocketFrame(frame));
    if (result >= 0) {
      this.#isDown = false;
      this.#unconfirmed++;
      return "accepted";
    }
    if (result === WOULD_BLOCK || result === ENOBUFS) return "full";
    this.#fail(result, "send to");
    return "failed";
  }

  #receive(): void {
    for (let i = 0; i < MOST_AT_ONCE; i++) {
      const length = this.socket.receive(this.#frame);
      if (length === WOULD_BLOCK) return;
      if (length < 0) return this.#fail(length, "receive from");
      this.#isDown = false;
      this.#countLost();
      if ((this.socket.flags & MSG_CONFIRM) !== 0) this.#confirm(1);
      else if (this.#take(this.#frame.subarray(0, length))) return;
    }
  }

  /** @returns whether that was the end */
  #take(bytes: Uint8Array<ArrayBuffer>): boolean {
    const frame = decodeSocketFrame(bytes);
    if (frame === "bus-off") {
      this.events.busOff(`The controller of ${this.name} is bus-off`);
      return true;
    }
    if (frame !== null) this.events.received(frame);
    return false;
  }

  #confirm(count: number): void {
    const confirmed = Math.min(count, this.#unconfirmed);
    this.#unconfirmed -= confirmed;
    this.events.sent(confirmed);
  }

  /** Confirmations may be among what was lost, so that none is waited for that would never come. */
  #countLost(): void {
    const { overflows } = this.socket;
    if (overflows === this.#overflows) return;
    this.events.lost(overflows - this.#overflows);
    this.#overflows = overflows;
    this.#confirm(this.#unconfirmed);
  }

  #fail(result: number, action: string): void {
    const problem = new OsError(`${action} CAN interface ${this.name}`, -result).message;
    if (result === ENODEV) return this.events.busOff(problem);
    this.#unconfirmed = 0;
    this.events.failed();
    if (this.#isDown) return;
    this.#isDown = true;
    const hint = result === ENETDOWN ? ` (ip link set ${this.name} up)` : "";
    this.events.report({ kind: "error", text: problem + hint });
  }

  [Symbol.dispose](): void {
    this.#watch.close();
    this.socket.close();
  }
}

/** What to try where an interface cannot be used. */
function hintFor(name: string, code: string): string {
  if (code === "ENODEV") return `ip link show; ip link add ${name} type vcan, for tests`;
  return "the kernel needs CONFIG_CAN and CONFIG_CAN_RAW: modprobe can_raw";
}

/**
 * The bus of an interface of the host.
 *
 * @throws {SpecError} when there is no such interface
 */
export function socketBus(name: string, watch: WatchFd): BusSpec {
  return {
    name,
    hasFd: checkInterface(name),
    connect: (events) => new SocketBus(name, CanSocket.onInterface(name), events, watch),
  };
}

/** @returns whether the interface has FD frames @throws {SpecError} when there is no such interface */
export function checkInterface(name: string): boolean {
  try {
    return CanSocket.hasFd(name);
  } catch (error) {
    const { message, code } = error as OsError;
    throw new SpecError(`${message} (${hintFor(name, code)})`, { cause: error });
  }
}
