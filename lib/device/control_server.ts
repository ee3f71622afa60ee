// SPDX-License-Identifier: Apache-2.0
/**
 * A device's control socket: by it programs of the same user see and do what lies outside of the driver's sight, such as the
 * other end of a wire. It lies beside the device's socket, `SOCKET.control`, with mode 600.
 *
 * Requests and replies are JSON values, a line each. A client gets its replies in the order of its requests, and between them
 * what it watches. Nothing that a client does holds the device up: what it does not read is kept up to {@linkcode MOST_UNREAD}
 * bytes, then what it watches is dropped and counted, and it is asked nothing more until it has read.
 *
 * @module
 */
import { EPOLLIN, EPOLLOUT, UnixListener, type UnixSocket, type Watch } from "../../ffi/mod.ts";
import type { DeviceHost } from "./role.ts";

/** The most bytes of a request, with its end of line. */
export const MOST_REQUEST_BYTES = 4096;
/** The most bytes that are kept for a client that does not read, besides one reply. */
export const MOST_UNREAD = 65536;
/** The most clients at once. */
export const MOST_CLIENTS = 16;

/** The control socket of a device that listens at `socket`; null for one that was given a listening socket, `fd:N`. */
export function controlPath(socket: string): string | null {
  return /^fd:\d+$/.test(socket) ? null : `${socket}.control`;
}

/** A client, as the device sees it. */
export interface ControlClient {
  /** Sends a value between the replies; drops it when the client does not read. */
  tell(value: object): void;
  /** Answers the present request, now or later. */
  reply(value: object): void;
}

/** What a device does with its clients. */
export interface ControlHandler {
  /**
   * A request; the client's next one comes after the reply.
   *
   * @param request Any JSON value
   * @throws {Error} its message is the reply
   */
  request(request: unknown, client: ControlClient): void;
  /** A client is gone, whatever it was promised. */
  gone(client: ControlClient): void;
}

type ControlHost = Pick<DeviceHost, "watch" | "report">;

/** A connection. */
class Connection implements ControlClient {
  readonly #input = new Uint8Array(MOST_REQUEST_BYTES);
  #length = 0;
  #output: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #isAsked = false;
  #isServing = false;
  #dropped = 0;
  /** What the socket is watched for. */
  #events = 0;
  #watch: Watch | null = null;

  constructor(
    readonly socket: UnixSocket,
    readonly host: ControlHost,
    readonly handler: ControlHandler,
    readonly onEnd: () => void,
  ) {
    this.#look();
  }

  /** Watches for what can be used: requests while there is room for them, room while there is something to send. */
  #look(): void {
    if (this.socket.closed) return;
    const events = (this.#length < MOST_REQUEST_BYTES ? EPOLLIN : 0) |
      (this.#output.length > 0 ? EPOLLOUT : 0);
    if (events === this.#events) return;
    this.#watch?.close();
    this.#events = events;
    this.#watch = events === 0
      ? null
      : this.host.watch(this.socket.number, events, (seen) => this.#onEvent(seen));
  }

  #onEvent(seen: number): void {
    if ((seen & EPOLLOUT) !== 0) this.#writeOn();
    if (!this.socket.closed && this.#length < MOST_REQUEST_BYTES) this.#receive();
  }

  // ---- what it sends ----

  #receive(): void {
    const room = MOST_REQUEST_BYTES - this.#length;
    const received = this.#attempt(() =>
      this.socket.receive(this.#input, this.#length, room, 0).length
    );
    if (received === null || received < 0) return;
    if (received === 0) return this.close();
    this.#length += received;
    this.#serve();
  }

  /** Takes requests as long as the last one is answered, and the answer read. */
  #serve(): void {
    this.#isServing = true;
    while (!this.socket.closed && !this.#isAsked && this.#output.length === 0) {
      const end = this.#input.subarray(0, this.#length).indexOf(0x0a);
      if (end < 0) break;
      const line = new TextDecoder().decode(this.#input.subarray(0, end));
      this.#input.copyWithin(0, end + 1, this.#length);
      this.#length -= end + 1;
      this.#ask(line);
    }
    this.#isServing = false;
    const isHeld = this.#isAsked || this.#output.length > 0;
    if (this.socket.closed || this.#length < MOST_REQUEST_BYTES || isHeld) return this.#look();
    this.#refuse(`Cannot take a request of more than ${MOST_REQUEST_BYTES} bytes`);
  }

  #ask(line: string): void {
    this.#isAsked = true;
    try {
      this.handler.request(JSON.parse(line), this);
    } catch (error) {
      const isJson = !(error instanceof SyntaxError);
      const text = isJson ? (error as Error).message : "Cannot read a request: it is no JSON value";
      this.reply({ error: text });
    }
  }

  #refuse(text: string): void {
    this.#send({ error: text });
    this.close();
  }

  // ---- what it is sent ----

  tell(value: object): void {
    if (this.#output.length >= MOST_UNREAD) this.#dropped++;
    else this.#send(value);
  }

  reply(value: object): void {
    if (this.socket.closed || !this.#isAsked) return;
    this.#isAsked = false;
    this.#send(value);
    if (!this.#isServing) this.#serve();
  }

  #send(value: object): void {
    if (this.socket.closed) return;
    const line = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
    const output = new Uint8Array(this.#output.length + line.length);
    output.set(this.#output);
    output.set(line, this.#output.length);
    this.#output = output;
    if ((this.#events & EPOLLOUT) === 0) this.#write();
  }

  #write(): void {
    const { length } = this.#output;
    const sent = this.#attempt(() => this.socket.send(this.#output, 0, length));
    if (sent === null) return;
    this.#output = this.#output.slice(sent);
    this.#look();
  }

  #writeOn(): void {
    this.#write();
    if (this.socket.closed || this.#output.length > 0) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.#send({ dropped });
    this.#serve();
  }

  // ---- the end ----

  /** A connection that fails is over. */
  #attempt<T>(action: () => T): T | null {
    try {
      return action();
    } catch {
      this.close();
      return null;
    }
  }

  close(): void {
    if (this.socket.closed) return;
    this.#watch?.close();
    this.socket.hangUp();
    this.onEnd();
    this.handler.gone(this);
  }
}

/** The socket. */
export class ControlServer implements Disposable {
  readonly #listener: UnixListener;
  readonly #watch: Watch;
  readonly #connections = new Set<Connection>();

  /** @throws {OsError} when it cannot be listened at */
  constructor(
    readonly path: string,
    readonly host: ControlHost,
    readonly handler: ControlHandler,
  ) {
    this.#listener = UnixListener.listen(path);
    this.#watch = host.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  #accept(): void {
    let socket: UnixSocket | null;
    try {
      socket = this.#listener.accept();
    } catch (error) {
      const text = `Cannot accept a client of ${this.path}: ${(error as Error).message}`;
      this.host.report({ kind: "error", text });
      return;
    }
    if (socket === null) return;
    if (this.#connections.size >= MOST_CLIENTS) return socket.hangUp();
    const connection: Connection = new Connection(
      socket,
      this.host,
      this.handler,
      () => this.#connections.delete(connection),
    );
    this.#connections.add(connection);
  }

  [Symbol.dispose](): void {
    for (const connection of [...this.#connections]) connection.close();
    this.#watch.close();
    this.#listener.close();
  }
}
