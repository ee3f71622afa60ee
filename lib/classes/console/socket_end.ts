// SPDX-License-Identifier: Apache-2.0
/**
 * A listening socket as the end of a port: one client after another. While one is connected others are refused at once. The
 * next waits, connected but not read, until the driver knows that the one before has left.
 *
 * @module
 */
import {
  Epoll,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLRDHUP,
  TcpListener,
  UnixListener,
  type UnixSocket,
  type Watch,
} from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";
import type { HostEnd } from "./host_end.ts";
import { rawSocket, Stream } from "./stream.ts";

/** What a socket of either kind does. */
interface Listener extends Disposable {
  readonly number: number;
  /** @returns null when nobody wants to connect @throws {OsError} */
  accept(): UnixSocket | null;
}

/** What it needs of its device. */
export type SocketHost = Pick<DeviceHost, "watch" | "now" | "report">;

/** How long to wait before accepting again when that failed, in nanoseconds. */
const RETRY_NS = 2e8;
/** The most clients that are refused at one event. */
const MOST_REFUSED = 1024;

/** See the module. */
export class SocketEnd implements HostEnd {
  readonly #watch: Watch;
  #client: Stream | null = null;
  /** Tells at once whether the client has left: of a client that left and came back the coming may be seen first. */
  readonly #probe = Epoll.create();
  /** A client was refused while the present one is connected, and that was told. */
  #hasRefused = false;
  /** Whether somebody may want to connect. */
  #mayAdmit = true;
  retryAt = Infinity;

  /**
   * @param endsAtEof A client that ends its sending is gone: of TCP, whose end cannot be told from that. Else it is answered
   * until it closes
   */
  constructor(
    readonly place: string,
    readonly listener: Listener,
    readonly endsAtEof: boolean,
    readonly host: SocketHost,
  ) {
    this.#watch = host.watch(listener.number, EPOLLIN | EPOLLET, () => {
      this.#mayAdmit = true;
      this.#refuseOthers();
    });
  }

  #refuseOthers(): void {
    for (let i = 0; i < MOST_REFUSED && this.#isServing(); i++) {
      const socket = this.#accept();
      if (socket === null) return;
      socket.hangUp();
      const text = `A second program was refused ${this.place}: one is connected`;
      if (!this.#hasRefused) this.host.report({ kind: "notice", text });
      this.#hasRefused = true;
    }
  }

  /** Whether a client is connected, and has not left unnoticed. */
  #isServing(): boolean {
    if (this.#client === null) return false;
    const left = EPOLLHUP | EPOLLERR | (this.endsAtEof ? EPOLLRDHUP : 0);
    return this.#probe.wait(0) === 0 || (this.#probe.found[1]! & left) === 0;
  }

  /** @returns null when nobody wants to connect, or it failed: then it is tried again later */
  #accept(): UnixSocket | null {
    try {
      const socket = this.listener.accept();
      if (socket === null) this.#mayAdmit = false;
      return socket;
    } catch (error) {
      this.retryAt = this.host.now() + RETRY_NS;
      this.host.report({ kind: "error", text: (error as Error).message });
      return null;
    }
  }

  get isOpen(): boolean {
    return this.#client !== null;
  }

  admit(): void {
    if (this.#client !== null || !this.#mayAdmit) return;
    if (this.retryAt !== Infinity && this.host.now() < this.retryAt) return;
    this.retryAt = Infinity;
    const socket = this.#accept();
    if (socket === null) return;
    this.#client = streamOf(socket, this.host);
    this.#probe.add(socket.number, EPOLLRDHUP, 0);
    this.#hasRefused = false;
  }

  read(buffer: Uint8Array<ArrayBuffer>): number {
    const count = this.#client?.read(buffer) ?? 0;
    this.#leaveIfGone();
    return count;
  }

  write(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.#client === null || this.#client.isBroken) return length;
    const count = this.#client.write(buffer, at, length);
    this.#leaveIfGone();
    return count;
  }

  #leaveIfGone(): void {
    if (this.#client?.isEnded === true && this.#isGone(this.#client)) this.#leave();
  }

  #isGone({ isBroken, isHungUp, isHalfClosed, isEnded }: Stream): boolean {
    return isBroken || isHungUp || (this.endsAtEof && (isHalfClosed || isEnded));
  }

  forgetLeft(): void {
    if (this.#client !== null && this.#isGone(this.#client)) this.#leave();
  }

  #leave(): void {
    if (this.#client === null) return;
    this.#probe.remove(this.#client.raw.number);
    this.#client[Symbol.dispose]();
    this.#client = null;
  }

  [Symbol.dispose](): void {
    this.#leave();
    this.#probe.close();
    this.#watch.close();
    this.listener[Symbol.dispose]();
  }
}

function streamOf(socket: UnixSocket, host: SocketHost): Stream {
  try {
    return new Stream(rawSocket(socket), (...args) => host.watch(...args));
  } catch (error) {
    socket.hangUp();
    throw error;
  }
}

/** Listens at a path. @throws {OsError} */
export function unixEnd(path: string, host: SocketHost): HostEnd {
  return made(
    UnixListener.listen(path),
    (listener) => new SocketEnd(`at ${path}`, listener, false, host),
  );
}

/** Listens at an address. @throws {OsError} */
export function tcpEnd(address: string, port: number, host: SocketHost): HostEnd {
  return made(
    TcpListener.listen(address, port),
    (listener) => new SocketEnd(`at ${listener.place}`, listener, true, host),
  );
}

function made<L extends Disposable>(listener: L, make: (listener: L) => HostEnd): HostEnd {
  using stack = new DisposableStack();
  const end = make(stack.use(listener));
  stack.move();
  return end;
}
