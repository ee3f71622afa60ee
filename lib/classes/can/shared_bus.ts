// SPDX-License-Identifier: Apache-2.0
/**
 * A virtual bus that the controllers of one user share, in one process or in several.
 *
 * A bus is a folder; each controller listens at a socket of its own there, and sends to all others by a connection to each.
 * A new controller connects to all sockets in the folder. Each controller that is connected to reads the folder again, and so
 * connects to the new one. A connection carries frames as they lie in a queue, each in a record of {@linkcode MAX_FRAME_SIZE} bytes.
 *
 * A controller that does not read (its driver takes no frames, or it is stopped) delays the others for at most
 * {@linkcode PATIENCE_NS}; then frames to it are dropped until it has read those that it has.
 *
 * @module
 */
import {
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  UnixListener,
  UnixSocket,
  type Watch,
} from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";
import { meetingPlace } from "../../device/runtime_folder.ts";
import type { Bus, BusEvents, BusSpec, Sending } from "./bus.ts";
import { type CanFrame, decodeFrame, encodeFrame, MAX_FRAME_SIZE, RX } from "./wire.ts";

/** How long a controller that does not read can delay the others, in nanoseconds. */
export const PATIENCE_NS = 1e9;
/** Most controllers on a bus; others are not connected to. */
const MOST_PEERS = 64;
/** Bytes read from a connection in one turn; epoll reports the rest again. */
const PIECE_BYTES = 256 * MAX_FRAME_SIZE;

/** What a shared bus needs of its device. */
export type BusHost = Pick<DeviceHost, "now" | "watch">;

/** A connection to another controller, for frames to it. */
class Outgoing implements Disposable {
  /** A record that could not be written whole. */
  readonly #record = new Uint8Array(MAX_FRAME_SIZE);
  #left = 0;
  /** Since when a record is left, in nanoseconds. */
  #since = 0;
  /** While a record is left: waits for room. */
  #watch: Watch | null = null;
  /** Frames that were dropped since it received the last. */
  #dropped = 0;

  /** @param notice Called with a sentence about it for the user, after "A controller" */
  constructor(
    readonly socket: UnixSocket,
    readonly host: BusHost,
    readonly notice: (text: string) => void,
  ) {}

  /** Whether a frame can be sent to it, or would be dropped rather than waited with. */
  get isReady(): boolean {
    return this.#left === 0 || this.host.now() - this.#since >= PATIENCE_NS;
  }

  /** Sends a record; called when it is ready. @throws {OsError} when it is gone */
  send(record: Uint8Array<ArrayBuffer>): void {
    if (this.#left > 0) {
      if (this.#dropped++ === 0) {
        this.notice("does not receive: frames to it are dropped until it does");
      }
      return;
    }
    this.#record.set(record);
    this.#left = record.length;
    this.#since = this.host.now();
    this.#write();
  }

  #write(): void {
    this.#left -= this.socket.send(this.#record, MAX_FRAME_SIZE - this.#left, this.#left);
    if (this.#left === 0) this.#written();
    else this.#watch ??= this.host.watch(this.socket.number, EPOLLOUT, () => this.#writeRest());
  }

  #written(): void {
    this.#endWatch();
    if (this.#dropped === 0) return;
    const frames = `${this.#dropped} frame${this.#dropped === 1 ? "" : "s"}`;
    this.#dropped = 0;
    this.notice(`receives again: ${frames} dropped meanwhile`);
  }

  /** A peer that is gone is noticed when the next frame is sent. */
  #writeRest(): void {
    if (attempt(() => this.#write()) === null) this.#endWatch();
  }

  #endWatch(): void {
    this.#watch?.close();
    this.#watch = null;
  }

  [Symbol.dispose](): void {
    this.#endWatch();
    this.socket.close();
  }
}

/** A connection from another controller, for its frames. */
class Incoming implements Disposable {
  /** Null while frames are held back. */
  #watch: Watch | null = null;
  readonly #bytes = new Uint8Array(PIECE_BYTES);
  /** Bytes at the beginning that are not a whole record yet. */
  #length = 0;

  /**
   * @param isFull Whether frames are to be held back
   * @param onFrame Called with each frame
   * @param onEnd Called when the connection ends, or a frame is malformed
   */
  constructor(
    readonly socket: UnixSocket,
    readonly host: BusHost,
    readonly isFull: () => boolean,
    readonly onFrame: (frame: CanFrame) => void,
    readonly onEnd: () => void,
  ) {
    this.resume();
  }

  /** Reads again after it held frames back. */
  resume(): void {
    this.#watch ??= this.host.watch(this.socket.number, EPOLLIN, () => this.#receive());
  }

  #holdBack(): void {
    this.#watch?.close();
    this.#watch = null;
  }

  #receive(): void {
    if (this.isFull()) return this.#holdBack();
    const room = PIECE_BYTES - this.#length;
    const received = attempt(() => this.socket.receive(this.#bytes, this.#length, room, 0).length);
    if (received === null || received === 0) return this.onEnd();
    if (received < 0) return;
    this.#length += received;
    let at = 0;
    for (; this.#length - at >= MAX_FRAME_SIZE; at += MAX_FRAME_SIZE) {
      const frame = decodeFrame(this.#bytes.subarray(at, at + MAX_FRAME_SIZE), RX);
      if (frame === null) return this.onEnd();
      this.onFrame(frame);
    }
    this.#bytes.copyWithin(0, at, this.#length);
    this.#length -= at;
  }

  [Symbol.dispose](): void {
    this.#holdBack();
    this.socket.close();
  }
}

/** A controller on a shared bus. */
export class SharedBus implements Bus {
  readonly #listener: UnixListener;
  readonly #watch: Watch;
  /** This controller's file in the folder. */
  readonly #own: string;
  /** By their files. */
  readonly #outgoing = new Map<string, Outgoing>();
  readonly #incoming = new Set<Incoming>();
  readonly #record = new Uint8Array(MAX_FRAME_SIZE);

  /**
   * Connects to all controllers of a bus.
   *
   * @param folder It is made if it is not there
   * @throws {Error} when the folder cannot be used
   */
  constructor(readonly folder: string, readonly events: BusEvents, readonly host: BusHost) {
    this.#own = crypto.randomUUID().slice(0, 8);
    this.#listener = listenIn(folder, this.#own);
    this.#watch = host.watch(this.#listener.number, EPOLLIN | EPOLLET, () => this.#acceptAll());
    this.#connectAll();
  }

  /** Connects to those that are in the folder and not connected to yet. */
  #connectAll(): void {
    const notice = (text: string): void =>
      this.events.report({ kind: "notice", text: `A controller on ${this.folder} ${text}` });
    for (const { name, isSocket } of filesOf(this.folder)) {
      if (!isSocket || name === this.#own || this.#outgoing.has(name)) continue;
      if (this.#outgoing.size >= MOST_PEERS) return;
      const path = `${this.folder}/${name}`;
      const socket = attempt(() => UnixSocket.connect(path), (code) => {
        if (code === "ECONNREFUSED") attempt(() => Deno.removeSync(path)); // one that was killed
      });
      if (socket !== null) this.#outgoing.set(name, new Outgoing(socket, this.host, notice));
    }
  }

  #acceptAll(): void {
    const failed = (code: string): void => {
      const text = `Cannot accept the connection of a controller on ${this.folder} (${code})`;
      this.events.report({ kind: "error", text });
    };
    for (;;) {
      const socket = attempt(() => this.#listener.accept(), failed);
      if (socket === null) break;
      if (this.#incoming.size < MOST_PEERS) this.#receiveFrom(socket);
      else socket.close();
    }
    this.#connectAll();
  }

  #receiveFrom(socket: UnixSocket): void {
    const onFrame = (frame: CanFrame): void => this.events.received(frame);
    const isFull = (): boolean => this.events.isFull();
    const incoming: Incoming = new Incoming(socket, this.host, isFull, onFrame, () => {
      this.#incoming.delete(incoming);
      incoming[Symbol.dispose]();
    });
    this.#incoming.add(incoming);
  }

  send(frame: CanFrame): Sending {
    for (const peer of this.#outgoing.values()) if (!peer.isReady) return "full";
    encodeFrame(this.#record.fill(0), RX, frame);
    this.#each((peer) => peer.send(this.#record));
    return "sent";
  }

  resume(): void {
    for (const peer of this.#incoming) peer.resume();
  }

  /** Does something with each other controller, and forgets those that are gone. */
  #each(action: (peer: Outgoing) => void): void {
    for (const [name, peer] of this.#outgoing) {
      attempt(() => action(peer), () => {
        this.#outgoing.delete(name);
        peer[Symbol.dispose]();
      });
    }
  }

  [Symbol.dispose](): void {
    this.#watch.close();
    this.#listener.close();
    for (const peer of [...this.#outgoing.values(), ...this.#incoming]) peer[Symbol.dispose]();
    attempt(() => Deno.removeSync(this.folder)); // unless others are there
  }
}

/** @throws {Error} when the folder cannot be used */
function listenIn(folder: string, name: string): UnixListener {
  for (let attempts = 3;; attempts--) {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    try {
      return UnixListener.listen(`${folder}/${name}`);
    } catch (error) {
      // The last of the others may have removed the folder as it left.
      if (attempts === 0 || (error as { code?: string }).code !== "ENOENT") throw error;
    }
  }
}

/** What an action returns; null when it fails. */
function attempt<T>(action: () => T, failed: (code: string) => void = () => {}): T | null {
  try {
    return action();
  } catch (error) {
    failed((error as { code?: string }).code ?? "");
    return null;
  }
}

function filesOf(folder: string): { name: string; isSocket: boolean }[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => ({
    name,
    isSocket: attempt(() => Deno.lstatSync(`${folder}/${name}`).isSocket) === true,
  }));
}

/** The folder of a bus. @throws {SpecError} for a name that is none */
export function busFolder(name: string): string {
  return meetingPlace("bus", "can", name);
}

/** The bus of a name. @throws {SpecError} for a name that is none */
export function sharedBus(name: string, host: BusHost): BusSpec {
  const folder = busFolder(name);
  return { name, hasFd: true, connect: (events) => new SharedBus(folder, events, host) };
}
