// SPDX-License-Identifier: Apache-2.0
/**
 * The back-end channel: a second connection on which the back-end sends requests, independent of the first one.
 *
 * @module
 */
import {
  EPOLLIN,
  EPOLLRDHUP,
  type Fd,
  type Reactor,
  UnixSocket,
  type Watch,
} from "../../ffi/mod.ts";
import { VhostUserError } from "./errors.ts";
import { MessageReader, type RawMessage } from "./framing.ts";
import {
  BACK_END_MESSAGES,
  decodeBody,
  encodeMessage,
  NEED_REPLY,
  REPLY,
  VERSION,
} from "./messages.ts";
import { U64 } from "./payloads.ts";

/** The most messages read from a back-end in {@linkcode WINDOW_MS}; the rest waits for the next window. */
const MESSAGES_PER_WINDOW = 64;
const WINDOW_MS = 100;

const DONE = 0n;
const REFUSED = 1n;

/** Options of a {@linkcode BackEndChannel}. */
export interface ChannelOptions {
  reactor: Reactor;
  /** The device's name, for errors. */
  name: string;
  /** The config space changed; called once for any number of messages that came together. */
  onConfigChange: () => void;
}

/** The front-end's end of the channel. A fault closes the channel only; the device continues. */
export class BackEndChannel {
  #socket: UnixSocket;
  #reader: MessageReader;
  #watch: Watch | null = null;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #windowStart = 0;
  #count = 0;

  private constructor(socket: UnixSocket, readonly options: ChannelOptions) {
    this.#socket = socket;
    this.#reader = new MessageReader(
      socket,
      "requests",
      `the back-end channel of ${options.name}`,
    );
    this.#listen();
  }

  /** Creates a channel, and the end to send to the back-end, which the caller closes afterwards. @throws {OsError} */
  static create(options: ChannelOptions): { channel: BackEndChannel; theirs: Fd } {
    const [ours, theirs] = UnixSocket.pair();
    return { channel: new BackEndChannel(ours, options), theirs };
  }

  /** Closes the channel; may be called again. */
  close(): void {
    clearTimeout(this.#pause);
    this.#watch?.close();
    this.#reader.discard();
    this.#socket.hangUp();
  }

  #listen(): void {
    this.#watch = this.options.reactor.watch(
      this.#socket.number,
      EPOLLIN | EPOLLRDHUP,
      () => this.#turn(),
    );
  }

  #turn(): void {
    let changed = false;
    try {
      while (this.#admit()) {
        const message = this.#reader.next();
        if (message === null) break;
        this.#count++;
        if (this.#serve(message)) changed = true;
      }
    } catch {
      this.close(); // only the channel: if the back-end has failed, the main connection shows it
    }
    if (changed) this.options.onConfigChange();
  }

  /** Whether another message may be read in this window. */
  #admit(): boolean {
    const now = performance.now();
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now;
      this.#count = 0;
    }
    if (this.#count < MESSAGES_PER_WINDOW) return true;
    this.#watch?.close();
    this.#pause = setTimeout(() => this.#listen(), WINDOW_MS);
    return false;
  }

  /** Answers a message. @returns whether it reports a changed config space */
  #serve({ request, flags, body, fds }: RawMessage): boolean {
    for (const fd of fds) fd.close();
    const row = BACK_END_MESSAGES.CONFIG_CHANGE_MSG;
    const known = request === row.request && fds.length === 0;
    if (known) decodeBody("CONFIG_CHANGE_MSG", row.body, body);
    if ((flags & NEED_REPLY) !== 0) this.#answer(request, known ? DONE : REFUSED);
    return known;
  }

  #answer(request: number, value: bigint): void {
    const reply = encodeMessage(request, VERSION | REPLY, U64.encode(value));
    if (this.#socket.send(reply, 0, reply.length) === reply.length) return;
    throw new VhostUserError("protocol", "The back-end does not read the answers on its channel");
  }
}
