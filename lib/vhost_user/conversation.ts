// SPDX-License-Identifier: Apache-2.0
/**
 * A front-end's requests over one connection. Replies come in order, each within a deadline; after a late one the
 * connection is closed, since without sequence numbers it could be taken for the reply to the next request.
 *
 * @module
 */
import {
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  type Reactor,
  type UnixSocket,
  type Watch,
} from "../../ffi/mod.ts";
import { VhostUserError, type VhostUserFault } from "./errors.ts";
import { MessageReader, type RawMessage } from "./framing.ts";
import {
  type BodyOf,
  decodeBody,
  encodeMessage,
  FRONT_END_MESSAGES,
  FRONT_END_NAMES,
  type FrontEndMessage,
  type MessageRow,
  NEED_REPLY,
  type ReplyOf,
  VERSION,
} from "./messages.ts";
import { type Codec, U64 } from "./payloads.ts";

/** The default deadline for a reply, in milliseconds. */
export const DEADLINE_MS = 2_000;
/** Requests with five times that deadline: the back-end maps memory, or drains requests in flight. */
const SLOW: ReadonlySet<FrontEndMessage> = new Set(["SET_MEM_TABLE", "GET_VRING_BASE"]);
const SLOW_FACTOR = 5;

/** Options of a {@linkcode Conversation}. */
export interface ConversationOptions {
  reactor: Reactor;
  /** The device's name, for errors. */
  name: string;
  deadlineMs: number;
  /** Called once when the connection ended for another reason than {@linkcode Conversation.close}. */
  onLost: (error: VhostUserError) => void;
}

/** A request that waits for its reply, or for room to be sent. */
interface Exchange {
  what: string;
  row: MessageRow;
  /** Deadline for its reply after the previous replies, in milliseconds. */
  ms: number;
  /** The codec of its reply; null when there is none. */
  reply: Codec<unknown> | null;
  unsent: Uint8Array<ArrayBuffer>;
  fds: readonly number[];
  settled: PromiseWithResolvers<unknown>;
}

/** The front-end's end of a connection. */
export class Conversation {
  #socket: UnixSocket;
  #reader: MessageReader;
  #watch: Watch;
  /** Not sent, or only partly. */
  readonly #unsent: Exchange[] = [];
  /** Sent, with a reply expected. */
  readonly #awaited: Exchange[] = [];
  /** The first of all these, and the timer of its deadline. */
  #timed: Exchange | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #ended: VhostUserError | null = null;
  /** Whether requests without a reply ask for an acknowledgement; true once REPLY_ACK is negotiated. */
  acknowledged = false;

  /** Takes ownership of the socket. */
  constructor(socket: UnixSocket, readonly options: ConversationOptions) {
    this.#socket = socket;
    this.#reader = new MessageReader(socket, "replies", `the back-end of ${options.name}`);
    this.#watch = this.#watchFor(EPOLLIN);
  }

  /**
   * Sends a request after those sent before, without waiting for their replies.
   *
   * @param fds Descriptors to send along; owned by the caller, who keeps them open until the promise settles
   * @returns the back-end's reply; undefined for an acknowledgement
   * @throws {VhostUserError} after closing the connection; all requests in flight reject with the same error
   */
  ask<Name extends FrontEndMessage>(
    name: Name,
    body: BodyOf<Name>,
    fds: readonly number[] = [],
  ): Promise<ReplyOf<Name>> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const exchange = this.#exchangeOf(name, body, fds);
    this.#unsent.push(exchange);
    this.#time();
    if (this.#unsent.length === 1) this.#guard(() => this.#send());
    return exchange.settled.promise as Promise<ReplyOf<Name>>;
  }

  /** Closes the connection after a wrong reply. @returns the error for the caller to throw */
  fail(fault: VhostUserFault, text: string): VhostUserError {
    const error = new VhostUserError(fault, text);
    this.#lose(error);
    return error;
  }

  /** Closes the connection; pending requests reject. May be called again. */
  close(): void {
    this.#end(new VhostUserError("closed", `The connection of ${this.options.name} was closed`));
  }

  /** Starts the deadline of the first request: it begins when those before it are done. */
  #time(): void {
    const first = this.#awaited[0] ?? this.#unsent[0];
    if (first === this.#timed) return;
    clearTimeout(this.#deadline);
    this.#timed = first;
    if (first === undefined) return;
    const { what, ms } = first;
    this.#deadline = setTimeout(() => {
      const text = `Cannot ${what}: no reply within ${ms} ms`;
      this.#lose(new VhostUserError("late", text));
    }, ms);
  }

  #exchangeOf(name: FrontEndMessage, body: unknown, fds: readonly number[]): Exchange {
    const row = FRONT_END_MESSAGES[name] as MessageRow;
    const acknowledged = row.reply === null && this.acknowledged;
    const flags = acknowledged ? VERSION | NEED_REPLY : VERSION;
    const { deadlineMs } = this.options;
    return {
      what: `${name}${queueOf(body)} of ${this.options.name}`,
      row,
      ms: SLOW.has(name) ? deadlineMs * SLOW_FACTOR : deadlineMs,
      reply: row.reply ?? (acknowledged ? U64 : null),
      unsent: encodeMessage(row.request, flags, row.body.encode(body)),
      fds,
      settled: Promise.withResolvers(),
    };
  }

  /** Sends the unsent requests; continues when the socket has room again. */
  #send(): void {
    for (let exchange = this.#unsent[0]; exchange !== undefined; exchange = this.#unsent[0]) {
      while (exchange.unsent.length > 0) {
        const sent = this.#socket.send(exchange.unsent, 0, exchange.unsent.length, exchange.fds);
        if (sent === 0) return this.#rewatch(EPOLLIN | EPOLLOUT);
        exchange.unsent = exchange.unsent.slice(sent);
        exchange.fds = [];
      }
      this.#unsent.shift();
      if (exchange.reply !== null) this.#awaited.push(exchange);
      else this.#resolve(exchange, undefined);
    }
  }

  #resolve(exchange: Exchange, value: unknown): void {
    this.#time();
    exchange.settled.resolve(value);
  }

  #watchFor(events: number): Watch {
    return this.options.reactor.watch(
      this.#socket.number,
      events | EPOLLRDHUP,
      (seen) => this.#guard(() => this.#turn(seen)),
    );
  }

  #rewatch(events: number): void {
    this.#watch.close();
    this.#watch = this.#watchFor(events);
  }

  #turn(events: number): void {
    if ((events & EPOLLOUT) !== 0) {
      this.#rewatch(EPOLLIN);
      this.#send();
    }
    for (let message = this.#reader.next(); message !== null; message = this.#reader.next()) {
      this.#receive(message);
    }
  }

  #receive(message: RawMessage): void {
    const { request, fds, body } = message;
    const exchange = this.#awaited[0];
    for (const fd of fds) fd.close();
    if (exchange === undefined) {
      throw new VhostUserError("protocol", `${this.#unasked(request)}, expected none`);
    }
    const { what, row, reply } = exchange;
    if (request !== row.request) {
      throw new VhostUserError(
        "protocol",
        `${this.#unasked(request)}, expected the reply to ${what}`,
      );
    }
    if (fds.length > row.replyFds) {
      const most = row.replyFds === 0 ? "none" : `at most ${row.replyFds}`;
      const text = `${fds.length} descriptors came with the reply, expected ${most}`;
      throw new VhostUserError("protocol", `Cannot ${what}: ${text}`);
    }
    const value = decodeBody(`the reply to ${what}`, reply!, body);
    if (row.reply === null && value !== 0n) {
      throw new VhostUserError(
        "refused",
        `Cannot ${what}: the back-end refused with ${value}, expected 0`,
      );
    }
    this.#awaited.shift();
    this.#resolve(exchange, row.reply === null ? undefined : value);
  }

  #unasked(request: number): string {
    const name = FRONT_END_NAMES.get(request) ?? `request ${request}`;
    return `The back-end of ${this.options.name} sent a reply to ${name}`;
  }

  /** Runs an action that may fail because the connection is broken. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (cause) {
      const error = VhostUserError.is(cause) ? this.#placed(cause) : new VhostUserError(
        "lost",
        `The connection to the back-end of ${this.options.name} is broken: ${
          (cause as Error).message
        }`,
        { cause },
      );
      this.#lose(error);
    }
  }

  /** Adds the request that was waiting for its reply to an error. */
  #placed(error: VhostUserError): VhostUserError {
    const what = this.#timed?.what;
    if (what === undefined || error.message.includes(what)) return error;
    const text = `${error.message} (waiting for the reply to ${what})`;
    return new VhostUserError(error.fault, text, { cause: error });
  }

  #lose(error: VhostUserError): void {
    if (this.#ended !== null) return;
    this.#end(error);
    this.options.onLost(error);
  }

  #end(error: VhostUserError): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#watch.close();
    this.#reader.discard();
    this.#socket.hangUp();
    clearTimeout(this.#deadline);
    for (const { settled } of [...this.#awaited.splice(0), ...this.#unsent.splice(0)]) {
      settled.reject(error);
    }
  }
}

function queueOf(body: unknown): string {
  const { index } = (body ?? {}) as { index?: number };
  return index === undefined ? "" : ` for queue ${index}`;
}
