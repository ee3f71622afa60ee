// SPDX-License-Identifier: Apache-2.0
/**
 * A front-end's requests over one connection: one in flight, each answered in time or the connection is given up. There
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

/** The request that waits for its reply, or for room to be sent. */
interface Exchange {
  what: string;
  row: MessageRow;
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
  #exchange: Exchange | null = null;
  #last: Promise<unknown> = Promise.resolve();
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
   * Sends a request when those before it are done.
   *
   * @param fds Descriptors to send along; they stay the caller's, and open until this is settled
   * @returns what the back-end replied; undefined for an acknowledgement
   * @throws {VhostUserError} and the connection is closed
   */
  ask<Name extends FrontEndMessage>(
    name: Name,
    body: BodyOf<Name>,
    fds: readonly number[] = [],
  ): Promise<ReplyOf<Name>> {
    const answer = this.#last.then(() => this.#perform(name, body, fds));
    this.#last = answer.catch(() => {});
    return answer as Promise<ReplyOf<Name>>;
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

  async #perform(
    name: FrontEndMessage,
    body: unknown,
    fds: readonly number[],
  ): Promise<unknown> {
    if (this.#ended !== null) throw this.#ended;
    const exchange = this.#exchangeOf(name, body, fds);
    const { deadlineMs } = this.options;
    const ms = SLOW.has(name) ? deadlineMs * SLOW_FACTOR : deadlineMs;
    const timer = setTimeout(() => {
      this.#lose(
        new VhostUserError("late", `Cannot ${exchange.what}: no answer, expected in ${ms} ms`),
      );
    }, ms);
    try {
      this.#exchange = exchange;
      this.#guard(() => this.#send(exchange));
      return await exchange.settled.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #exchangeOf(name: FrontEndMessage, body: unknown, fds: readonly number[]): Exchange {
    const row = FRONT_END_MESSAGES[name] as MessageRow;
    const acknowledged = row.reply === null && this.acknowledged;
    const flags = acknowledged ? VERSION | NEED_REPLY : VERSION;
    return {
      what: `${name}${queueOf(body)} of ${this.options.name}`,
      row,
      reply: row.reply ?? (acknowledged ? U64 : null),
      unsent: encodeMessage(row.request, flags, row.body.encode(body)),
      fds,
      settled: Promise.withResolvers(),
    };
  }

  /** Sends what is left of a request; waits for room when there is none. */
  #send(exchange: Exchange): void {
    while (exchange.unsent.length > 0) {
      const sent = this.#socket.send(exchange.unsent, 0, exchange.unsent.length, exchange.fds);
      if (sent === 0) return this.#rewatch(EPOLLIN | EPOLLOUT);
      exchange.unsent = exchange.unsent.slice(sent);
      exchange.fds = [];
    }
    if (exchange.reply === null) this.#settle(undefined);
  }

  #settle(value: unknown): void {
    const exchange = this.#exchange!;
    this.#exchange = null;
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
    const exchange = this.#exchange;
    if ((events & EPOLLOUT) !== 0 && exchange !== null) {
      this.#rewatch(EPOLLIN);
      this.#send(exchange);
    }
    for (let message = this.#reader.next(); message !== null; message = this.#reader.next()) {
      this.#receive(message);
    }
  }

  #receive(message: RawMessage): void {
    const { request, fds, body } = message;
    const exchange = this.#exchange;
    for (const fd of fds) fd.close();
    if (exchange === null || exchange.reply === null || exchange.unsent.length > 0) {
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
    const value = decodeBody(`the reply to ${what}`, reply, body);
    if (row.reply !== null) return this.#settle(value);
    if (value !== 0n) {
      throw new VhostUserError(
        "refused",
        `Cannot ${what}: the back-end answered ${value}, expected 0`,
      );
    }
    this.#settle(undefined);
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
    const what = this.#exchange?.what;
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
    this.#exchange?.settled.reject(error);
    this.#exchange = null;
  }
}

function queueOf(body: unknown): string {
  const { index } = (body ?? {}) as { index?: number };
  return index === undefined ? "" : ` for queue ${index}`;
}
