// SPDX-License-Identifier: Apache-2.0
/**
 * Reads messages from a stream of bytes and descriptors, in which they may arrive in pieces. Used by both roles.
 *
 * @module
 */
import type { Fd, Received, UnixSocket } from "../../ffi/mod.ts";
import { VhostUserError } from "./errors.ts";
import { HEADER_SIZE, NEED_REPLY, REPLY, VERSION } from "./messages.ts";
import { MAX_BODY } from "./payloads.ts";

/** A source of bytes and descriptors: a Unix socket, or a fake one in tests. */
export interface ByteSource {
  receive(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    maxFds: number,
  ): Received;
}

/** A received message. The caller owns the descriptors. */
export interface RawMessage {
  request: number;
  flags: number;
  /** The payload, copied. */
  body: Uint8Array<ArrayBuffer>;
  fds: Fd[];
}

/** The kind of messages that are accepted. */
export type Direction = "replies" | "requests";

const FLAGS_OF_REQUEST = VERSION | NEED_REPLY;

/** The most descriptors of a message: those of a memory table. */
const MAX_MESSAGE_FDS = 8;

/**
 * Reads one message at a time, never beyond its end: a message's descriptors arrive with its first byte, and reading
 * further would mix up the descriptors of two messages.
 */
export class MessageReader {
  #bytes = new Uint8Array(HEADER_SIZE + MAX_BODY);
  #view = new DataView(this.#bytes.buffer);
  #filled = 0;
  #fds: Fd[] = [];

  /** @param peer Whose messages these are, for errors: "card0: the back-end" */
  constructor(
    readonly source: ByteSource,
    readonly direction: Direction,
    readonly peer: string,
  ) {}

  /**
   * Reads the next message; null while it is incomplete.
   *
   * @throws {VhostUserError} when the peer has closed the connection or sent a malformed message; close the connection then
   */
  next(): RawMessage | null {
    while (this.#filled < this.#end()) {
      const { length, fds } = this.#receive(this.#end() - this.#filled);
      this.#keep(fds);
      if (length === 0) throw this.#closed();
      if (length < 0) return null;
      this.#filled += length;
      if (this.#filled === HEADER_SIZE) this.#checkHeader();
    }
    return this.#take();
  }

  /** Whether no byte of the next message has arrived. */
  get idle(): boolean {
    return this.#filled === 0;
  }

  /** How much of the next message is there, in words: "3 of 12 bytes". */
  get received(): string {
    return `${this.#filled} of ${this.#end()} bytes`;
  }

  /** Closes the descriptors of an incomplete message. */
  discard(): void {
    for (const fd of this.#fds) fd.close();
    this.#fds = [];
  }

  /** The end of the part being read: of the header, then of the payload. */
  #end(): number {
    return this.#filled < HEADER_SIZE ? HEADER_SIZE : HEADER_SIZE + this.#view.getUint32(8, true);
  }

  #receive(length: number): Received {
    try {
      return this.source.receive(this.#bytes, this.#filled, length, MAX_MESSAGE_FDS);
    } catch (cause) {
      const { code, message } = cause as { code?: string; message: string };
      const fault = code === "EMSGSIZE" ? "protocol" : "lost";
      const text = code === "EMSGSIZE" ? `more than ${MAX_MESSAGE_FDS} descriptors came` : message;
      throw new VhostUserError(fault, `Cannot read from ${this.peer}: ${text}`, { cause });
    }
  }

  #keep(fds: Fd[]): void {
    if (fds.length === 0) return;
    const first = this.#filled === 0;
    this.#fds.push(...fds);
    if (!first) {
      throw this.#bad(`${fds.length} descriptors came inside a message, expected with its start`);
    }
  }

  #closed(): VhostUserError {
    if (this.#filled === 0) {
      return new VhostUserError("lost", `${this.peer} closed the connection`);
    }
    const text = `${this.peer} closed the connection after ${this.#filled} bytes of a message`;
    return new VhostUserError("lost", `${text}, expected ${this.#end()}`);
  }

  #checkHeader(): void {
    const flags = this.#view.getUint32(4, true);
    const size = this.#view.getUint32(8, true);
    const expected = this.direction === "replies" ? VERSION | REPLY : VERSION;
    const given = this.direction === "replies" ? flags : flags & ~NEED_REPLY;
    if (given !== expected) {
      const also = this.direction === "replies" ? "" : ` or 0x${FLAGS_OF_REQUEST.toString(16)}`;
      throw this.#bad(`flags are 0x${flags.toString(16)}, expected 0x${expected}${also}`);
    }
    if (size > MAX_BODY) throw this.#bad(`its size is ${size}, expected at most ${MAX_BODY}`);
  }

  #bad(text: string): VhostUserError {
    const request = this.#view.getUint32(0, true);
    return new VhostUserError(
      "protocol",
      `Cannot read a message (request ${request}) from ${this.peer}: ${text}`,
    );
  }

  #take(): RawMessage {
    const message = {
      request: this.#view.getUint32(0, true),
      flags: this.#view.getUint32(4, true),
      body: this.#bytes.slice(HEADER_SIZE, this.#filled),
      fds: this.#fds,
    };
    this.#filled = 0;
    this.#fds = [];
    return message;
  }
}

/** Sends a whole message at once: a peer that leaves no room for it has stopped reading. @throws {VhostUserError} @throws {OsError} */
export function sendWhole(
  socket: UnixSocket,
  bytes: Uint8Array<ArrayBuffer>,
  fds: readonly number[] = [],
): void {
  const sent = socket.send(bytes, 0, bytes.length, fds);
  if (sent === bytes.length) return;
  throw new VhostUserError(
    "protocol",
    `Cannot send ${bytes.length} bytes: there is room for ${sent}, the front-end does not read`,
  );
}
