// SPDX-License-Identifier: Apache-2.0
/**
 * A front-end's requests over one connection: answered in their order, each in time or the connection is given up. There
 * are no sequence numbers, so a reply that came late could be taken for the next one's.
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

/** How long a reply may take, in milliseconds, unless the front-end says otherwise. */
export const DEADLINE_MS = 2_000;
/** These may take five times that: the back-end maps memory, or waits for requests in flight. */
const SLOW: ReadonlySet<FrontEndMessage> = new Set(["SET_MEM_TABLE", "GET_VRING_BASE"]);
const SLOW_FACTOR = 5;

/** What a {@linkcode Conversation} needs to know. */
export interface ConversationOptions {
  reactor: Reactor;
  /** The device's name, for errors. */
  name: string;
  deadlineMs: number;
  /** Called once when it ended for any reason but {@linkcode Conversation.close}. */
  onLost: (error: VhostUserError) => void;
}

/** A request that waits for its reply, or for room to be sent. */
interface Exchange {
  what: string;
  row: MessageRow;
  /** How long its reply may take once those before it have come, in milliseconds. */
  ms: number;
  /** How its reply is read, null when none will come. */
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
  /** Not sent, or not wholly. */
  readonly #unsent: Exchange[] = [];
  /** Sent, and to be replied to. */
  readonly #awaited: Exchange[] = [];
  /** The first of all these, and what runs out when it is not replied to in time. */
  #timed: Exchange | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #ended: VhostUserError | null = null;
  /** Whether requests without a reply of their own ask for an acknowledgement: once REPLY_ACK is agreed on. */
  acknowledged = false;

  /** Takes the socket over. */
  constructor(socket: UnixSocket, readonly options: ConversationOptions) {
    this.#socket = socket;
    this.#reader = new MessageReader(socket, "replies", `the back-end of ${options.name}`);
    this.#watch = this.#watchFor(EPOLLIN);
  }

  /**
   * Sends a request behind those before it, whether they are replied to or not: who must know that awaits them.
   *
   * @param fds Descriptors to send along; they stay the caller's, and open until this is settled
   * @returns what the back-end replied; undefined for an acknowledgement
   * @throws {VhostUserError} and the connection is closed; all requests in flight are told the same
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

  /** Ends the conversation because of what the back-end said, and returns the error for the caller to throw. */
  fail(fault: VhostUserFault, text: string): VhostUserError {
    const error = new VhostUserError(fault, text);
    this.#lose(error);
    return error;
  }

  /** Ends it; what is pending rejects. Again is no harm. */
  close(): void {
    this.#end(new VhostUserError("closed", `The connection of ${this.options.name} was closed`));
  }

  /** Gives the first request its time: that begins when those before it are done. */
  #time(): void {
    const first = this.#awaited[0] ?? this.#unsent[0];
    if (first === this.#timed) return;
    clearTimeout(this.#deadline);
    this.#timed = first;
    if (first === undefined) return;
    const { what, ms } = first;
    this.#deadline = setTimeout(() => {
      const text = `Cannot ${what}: no answer, expected in ${ms} ms`;
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

  /** Sends what is unsent; waits for room when there is none. */
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
      else this.#settle(exchange, undefined);
    }
  }

  #settle(exchange: Exchange, value: unknown): void {
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
      throw new VhostUserError("protocol", `${this.#unasked(request)}, expected that to ${what}`);
    }
    if (fds.length > 0) { // no request of ours has any in its reply
      const text = `${fds.length} descriptors came with the reply, expected none`;
      throw new VhostUserError("protocol", `Cannot ${what}: ${text}`);
    }
    const value = decodeBody(`the reply to ${what}`, reply!, body);
    if (row.reply === null && value !== 0n) {
      throw new VhostUserError(
        "refused",
        `Cannot ${what}: the back-end answered ${value}, expected 0`,
      );
    }
    this.#awaited.shift();
    this.#settle(exchange, row.reply === null ? undefined : value);
  }

  #unasked(request: number): string {
    const name = FRONT_END_NAMES.get(request) ?? `request ${request}`;
    return `The back-end of ${this.options.name} sent a reply to ${name}`;
  }

  /** Runs what may find the connection broken. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (cause) {
      const error = cause instanceof VhostUserError ? this.#placed(cause) : new VhostUserError(
        "lost",
        `The back-end of ${this.options.name} is gone: ${(cause as Error).message}`,
        { cause },
      );
      this.#lose(error);
    }
  }

  /** An error that says at which request it came. */
  #placed(error: VhostUserError): VhostUserError {
    const what = this.#timed?.what;
    if (what === undefined || error.message.includes(what)) return error;
    const text = `${error.message} (the answer to ${what} was awaited)`;
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
    this.#socket.close();
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
