// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket of a scene: a client sends a word and a line end, gets an answer, and the connection ends. Only the user
 * that viola runs as may connect.
 *
 * @module
 */
import {
  EPOLLIN,
  type Reactor,
  UnixListener,
  type UnixSocket,
  type Watch,
  WOULD_BLOCK,
} from "../../ffi/mod.ts";

/** Clients at once; further ones wait. */
const MOST_CLIENTS = 8;
/** Bytes of the longest question. */
const MOST_BYTES = 64;
/** How long a client may take to ask, in milliseconds. */
const PATIENCE_MS = 2000;

/** What is answered, by the word that asks for it. */
export type Answers = Readonly<Record<string, () => string>>;

/** See the module. */
export class ControlServer implements Disposable {
  readonly #listener: UnixListener;
  readonly #watch: Watch;
  readonly #clients = new Set<Client>();

  /** @throws {OsError} EADDRINUSE when another process listens there … */
  constructor(readonly reactor: Reactor, readonly path: string, readonly answers: Answers) {
    this.#listener = UnixListener.listen(path);
    this.#watch = reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  #accept(): void {
    while (this.#clients.size < MOST_CLIENTS) {
      const socket = accepted(this.#listener);
      if (socket === null) return;
      const client = new Client(this.reactor, socket, this.answers, () => {
        this.#clients.delete(client);
        this.#accept();
      });
      this.#clients.add(client);
    }
  }

  /** Removes the socket, and ends all connections. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (this.#listener.closed) return;
    this.#watch.close();
    this.#listener.close();
    for (const client of [...this.#clients]) client.end();
  }
}

/** Accepts a connection; null when there is none, or no free descriptor for it. */
function accepted(listener: UnixListener): UnixSocket | null {
  try {
    return listener.closed ? null : listener.accept();
  } catch {
    return null;
  }
}

/** A connection. */
class Client {
  readonly #watch: Watch;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #buffer = new Uint8Array(MOST_BYTES);
  #length = 0;
  #hasEnded = false;

  constructor(
    reactor: Reactor,
    readonly socket: UnixSocket,
    readonly answers: Answers,
    readonly onEnd: () => void,
  ) {
    this.#watch = reactor.watch(socket.number, EPOLLIN, () => this.#read());
    this.#timer = setTimeout(() => this.end(), PATIENCE_MS);
  }

  #read(): void {
    try {
      const room = MOST_BYTES - this.#length;
      const { length, fds } = this.socket.receive(this.#buffer, this.#length, room);
      for (const fd of fds) fd.close();
      if (length === WOULD_BLOCK) return;
      this.#length += length;
      const text = new TextDecoder().decode(this.#buffer.subarray(0, this.#length));
      if (text.includes("\n")) this.#answer(text.split("\n")[0]!);
      else if (length > 0 && this.#length < MOST_BYTES) return;
    } catch { /* it is gone */ }
    this.end();
  }

  /** A client that does not read what it asked for gets as much as its socket takes. */
  #answer(word: string): void {
    const known = Object.keys(this.answers).join(", ");
    const text = Object.hasOwn(this.answers, word)
      ? this.answers[word]!()
      : `Cannot answer "${word}", expected one of ${known}\n`;
    const bytes = new TextEncoder().encode(text);
    for (let sent = 0, n; sent < bytes.length; sent += n) {
      n = this.socket.send(bytes, sent, bytes.length - sent);
      if (n === 0) return;
    }
  }

  /** Ends the connection. Calling it again does nothing. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    this.#watch.close();
    this.socket.hangUp();
    this.onEnd();
  }
}
