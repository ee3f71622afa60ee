// SPDX-License-Identifier: Apache-2.0
/**
 * A cable between two cards of one user, in one process or in two: a Unix stream socket with a name, on which each frame
 * follows its length, 4 bytes, big-endian. QEMU's `-netdev stream` and passt use the same.
 *
 * The card that comes first listens, and no longer when the second has connected; the next one listens anew, and waits until
 * one of the two leaves.
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
import { meetingPlace } from "../../device/runtime_folder.ts";
import type { Link, LinkHost, LinkSpec, Sending } from "./link.ts";
import { ETHERNET_HEADER_SIZE, mostFrameBytes, MTU_RANGE } from "./wire.ts";

/** How long a card waits at least between two attempts to reach another end, in nanoseconds. */
export const RETRY_NS = 1e9;
const LENGTH_BYTES = 4;
const MOST_FRAME = mostFrameBytes(MTU_RANGE[1]);
/** Bytes read from the socket at once. */
const PIECE_BYTES = 4 * (LENGTH_BYTES + MOST_FRAME);

/** One end's connection to the other. @throws {OsError} from its methods when the other end is gone */
export class Connection implements Disposable {
  readonly #in = new Uint8Array(PIECE_BYTES);
  /** What was received and not taken: from `#at`, up to `#end`. */
  #at = 0;
  #end = 0;
  readonly #out = new Uint8Array(LENGTH_BYTES + MOST_FRAME);
  /** Bytes of a frame that could not be sent whole: the last ones of `#length`. */
  #left = 0;
  #length = 0;

  constructor(readonly socket: UnixSocket, readonly watch: Watch) {}

  send(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): Sending {
    if (!this.flush()) return "full";
    new DataView(this.#out.buffer).setUint32(0, length);
    this.#out.set(bytes.subarray(at, at + length), LENGTH_BYTES);
    this.#left = this.#length = LENGTH_BYTES + length;
    this.flush();
    return "sent";
  }

  /** Sends what is left. @returns whether nothing is */
  flush(): boolean {
    if (this.#left > 0) {
      this.#left -= this.socket.send(this.#out, this.#length - this.#left, this.#left);
    }
    return this.#left === 0;
  }

  /** @returns bytes of the frame, 0 when there is none now @throws {Error} also when what comes is not frames */
  receive(target: Uint8Array, at: number): number {
    let length = this.#whole();
    while (length === 0 && this.#fill()) length = this.#whole();
    if (length === 0) return 0;
    const from = this.#at + LENGTH_BYTES;
    target.set(this.#in.subarray(from, from + length), at);
    this.#at = from + length;
    return length;
  }

  /** Bytes of the next frame, 0 unless all of it is there. */
  #whole(): number {
    const has = this.#end - this.#at;
    if (has < LENGTH_BYTES) return 0;
    const length = new DataView(this.#in.buffer).getUint32(this.#at);
    if (length < ETHERNET_HEADER_SIZE || length > MOST_FRAME) {
      throw new Error(`The other end sent a frame of ${length} bytes`);
    }
    return has >= LENGTH_BYTES + length ? length : 0;
  }

  /** @returns whether there was more */
  #fill(): boolean {
    this.#in.copyWithin(0, this.#at, this.#end);
    this.#end -= this.#at;
    this.#at = 0;
    const { length } = this.socket.receive(this.#in, this.#end, PIECE_BYTES - this.#end, 0);
    if (length === 0) throw new Error("The other end is gone");
    if (length < 0) return false;
    this.#end += length;
    return true;
  }

  [Symbol.dispose](): void {
    this.watch.close();
    this.socket.close();
  }
}

/** One end of a cable. */
export class Cable implements Link {
  #listener: { readonly socket: UnixListener; readonly watch: Watch } | null = null;
  #connection: Connection | null = null;
  /** When it listened or connected last, in nanoseconds. */
  #joinedAt = 0;
  /** When to try again to reach another end, in nanoseconds. */
  #retryAt = Infinity;

  /**
   * Connects to the other end, or waits for it.
   *
   * @param path The cable's socket
   * @throws {Error} when that cannot be used
   */
  constructor(readonly path: string, readonly host: LinkHost) {
    this.#join();
  }

  get isUp(): boolean {
    return this.#connection !== null;
  }

  #join(): void {
    this.#joinedAt = this.host.now();
    try {
      this.#use(UnixSocket.connect(this.path));
    } catch {
      this.#listen();
    }
  }

  #listen(): void {
    try {
      const socket = UnixListener.listen(this.path);
      const watch = this.host.watch(socket.number, EPOLLIN | EPOLLET, () => this.#accept());
      this.#listener = { socket, watch };
    } catch (error) {
      if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
      this.#retryAt = this.#joinedAt + RETRY_NS; // another has just come
    }
  }

  #use(socket: UnixSocket): void {
    const events = EPOLLIN | EPOLLOUT | EPOLLET;
    const onEvent = (): void => void this.#attempt((connection) => connection.flush());
    this.#connection = new Connection(socket, this.host.watch(socket.number, events, onEvent));
  }

  /** A cable has two ends: when the second is there, no other is waited for. */
  #accept(): void {
    try {
      const socket = this.#listener!.socket.accept();
      if (socket === null) return;
      this.#endListener();
      this.#use(socket);
    } catch (error) {
      const text = `Cannot accept the other end of cable ${this.path}: ${(error as Error).message}`;
      this.host.report({ kind: "error", text });
    }
  }

  #endListener(): void {
    this.#listener?.watch.close();
    this.#listener?.socket.close();
    this.#listener = null;
  }

  send(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): Sending {
    return this.#attempt((connection) => connection.send(bytes, at, length)) ?? "lost";
  }

  receive(bytes: Uint8Array<ArrayBuffer>, at: number): number {
    return this.#attempt((connection) => connection.receive(bytes, at)) ?? 0;
  }

  /** @returns null when there is no other end, or none any more */
  #attempt<T>(action: (connection: Connection) => T): T | null {
    if (this.#connection === null) return null;
    try {
      return action(this.#connection);
    } catch {
      this.#connection[Symbol.dispose]();
      this.#connection = null;
      this.#retryAt = this.#joinedAt + RETRY_NS;
      return null;
    }
  }

  tick(now: number): void {
    if (now < this.#retryAt) return;
    this.#retryAt = Infinity;
    try {
      this.#join();
    } catch (error) {
      this.#retryAt = now + RETRY_NS;
      const text = `Cannot use cable ${this.path}: ${(error as Error).message}`;
      this.host.report({ kind: "error", text });
    }
  }

  deadline(): number {
    return this.#retryAt;
  }

  [Symbol.dispose](): void {
    this.#endListener();
    this.#connection?.[Symbol.dispose]();
    this.#connection = null;
  }
}

/** The socket of a cable. @throws {SpecError} for a name that is none */
export function cablePath(name: string): string {
  return meetingPlace("cable", "net", name);
}

/** The cable of a name. @throws {SpecError} for a name that is none */
export function cableLink(name: string): LinkSpec {
  const path = cablePath(name);
  return {
    name,
    connect: (host) => {
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true, mode: 0o700 });
      return new Cable(path, host);
    },
  };
}
