// SPDX-License-Identifier: Apache-2.0
/**
 * The store process's work: holds descriptors by name, and hands copies out.
 *
 * Whatever a client does ends that client's connection at most. A store that has no descriptor left holds what it has, and
 * says so to those who come.
 *
 * @module
 */
import {
  EPOLLIN,
  EventFd,
  type Fd,
  type OsError,
  type Reactor,
  UnixListener,
  type UnixSocket,
  type Watch,
} from "../../../ffi/mod.ts";
import { checkPathLength, checkPrivate, folderOf } from "./path.ts";
import {
  decodeRequest,
  encodeReply,
  MAX_DESCRIPTORS,
  MAX_MESSAGE,
  type Reply,
  type Request,
} from "./protocol.ts";

/** The most names under which something is held. */
export const MAX_NAMES = 64;
/** The most connections at once: one for each name, and as many that come and go. */
export const MAX_CLIENTS: number = 2 * MAX_NAMES;
/** The most requests of a connection in a second: a viola makes a handful in its life. */
export const MAX_REQUESTS_A_SECOND = 100;
/** How long nobody is accepted when not even that can be done. */
const PAUSE_MS = 100;

/** A connection: a viola's, for one device, or of somebody who asks. */
interface Client {
  readonly socket: UnixSocket;
  watch: Watch | null;
  /** What it has, so that nobody else serves it. */
  name: string | null;
  /** Its requests since {@linkcode Client.since}. */
  requests: number;
  since: number;
}

/** What a request comes to: the reply, and the descriptors that go with it. */
interface Answer {
  readonly reply: Reply;
  readonly fds: readonly Fd[];
}

const DONE: Reply = { verdict: "done", text: "" };

/** See the module. */
export class StoreServer implements Disposable {
  readonly #uid: number;
  readonly #now: () => number;
  readonly #listener: UnixListener;
  #accepting: Watch | null = null;
  readonly #held = new Map<string, readonly Fd[]>();
  /** In the order in which they came. */
  readonly #clients = new Set<Client>();
  /** Given up for a moment to take a connection on when there is no other descriptor left. */
  #spare: Fd | null = EventFd.create();
  /** Runs while nothing can be accepted at all. */
  #pause: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param path Where it listens: in a folder of the user's own
   * @param options.uid Whom it serves; by default whoever runs it
   * @param options.now Milliseconds of a clock that does not go back
   * @throws {OsError} EADDRINUSE when another one listens there
   * @throws {Error} when others may write the folder
   */
  constructor(
    readonly path: string,
    readonly reactor: Reactor,
    { uid = Deno.uid()!, now = () => performance.now() } = {},
  ) {
    this.#uid = uid;
    this.#now = now;
    checkPathLength(path);
    checkPrivate(folderOf(path));
    this.#listener = UnixListener.listen(path);
    this.#listen();
  }

  #listen(): void {
    this.#accepting = this.reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  #accept(): void {
    const socket = this.#nextSocket();
    if (socket === null) return;
    const client: Client = { socket, watch: null, name: null, requests: 0, since: 0 };
    this.#clients.add(client);
    try {
      if (socket.peer().uid !== this.#uid) throw new Error("another user's");
      client.watch = this.reactor.watch(socket.number, EPOLLIN, () => this.#turn(client));
    } catch {
      return this.#part(client);
    }
    if (this.#clients.size <= MAX_CLIENTS) return;
    const idle = this.#clients.values().find(({ name }) => name === null) ?? client;
    this.#part(idle);
  }

  /** The next that waits. One for which there is no descriptor is told so: left to wait, it would be looked at without pause. */
  #nextSocket(): UnixSocket | null {
    try {
      return this.#listener.accept();
    } catch {
      this.#turnAway();
      return null;
    }
  }

  #turnAway(): void {
    this.#spare?.close();
    this.#spare = null;
    try {
      using socket = this.#listener.accept();
      if (socket !== null) answer(socket, exhausted());
    } catch { // the run-time took the spare one
      this.#accepting?.close();
      this.#pause = setTimeout(() => this.#listen(), PAUSE_MS);
    }
    this.#restock();
  }

  #restock(): void {
    try {
      this.#spare ??= EventFd.create();
    } catch { /* none is free: with the next that one is tried again */ }
  }

  #turn(client: Client): void {
    try {
      if (this.#serve(client)) return;
    } catch { /* who asked is gone, or sends what is no request: nothing changed */ }
    this.#part(client);
  }

  /** @returns whether the client is still there @throws {Error} when it is not to be */
  #serve(client: Client): boolean {
    const { bytes, fds, failure } = this.#receive(client);
    if (bytes === null) return true;
    if (bytes.length === 0 && failure === null) return false;
    try {
      if (isFlood(client, this.#now())) return false;
      const { reply, fds: out } = failure ?? this.#obey(client, decodeRequest(bytes), fds);
      return answer(client.socket, reply, out);
    } finally {
      for (const fd of fds) fd.close(); // those that are not held
    }
  }

  /** What a client sent; null bytes: nothing yet. */
  #receive({ socket }: Client): { bytes: Uint8Array | null; fds: Fd[]; failure: Answer | null } {
    const buffer = new Uint8Array(MAX_MESSAGE + 1);
    try {
      const { length, fds } = socket.receive(buffer, 0, buffer.length, MAX_DESCRIPTORS);
      return { bytes: length < 0 ? null : buffer.subarray(0, length), fds, failure: null };
    } catch (error) {
      if ((error as OsError).code !== "EMFILE") throw error;
      return { bytes: buffer.subarray(0, 0), fds: [], failure: { reply: exhausted(), fds: [] } };
    }
  }

  /** @param fds What came with the request: those that are held from now on are taken out */
  #obey(client: Client, { verb, name }: Request, fds: Fd[]): Answer {
    if (verb === "has") return without(this.#held.has(name) ? DONE : nothing());
    if (verb === "remove") return without(this.#remove(name) ? DONE : nothing());
    const refusal = this.#claim(client, name);
    if (refusal !== null) return without(refusal);
    if (verb === "take") return { reply: DONE, fds: this.#held.get(name) ?? [] };
    if (fds.length === 0) return without(refused("no descriptors came with it"));
    if (this.#held.size >= MAX_NAMES && !this.#held.has(name)) {
      return without(refused(`it holds ${MAX_NAMES} devices already`));
    }
    this.#remove(name);
    this.#held.set(name, fds.splice(0));
    return without(DONE);
  }

  /** Gives a client a name, unless it has another, or another has it. */
  #claim(client: Client, name: string): Reply | null {
    if (client.name !== null && client.name !== name) {
      return refused(`this connection is for ${client.name}`);
    }
    const owner = this.#clients.values().find((other) => other.name === name) ?? client;
    if (owner !== client) return { verdict: "in use", text: "" };
    client.name = name;
    return null;
  }

  #remove(name: string): boolean {
    for (const fd of this.#held.get(name) ?? []) fd.close();
    return this.#held.delete(name);
  }

  #part(client: Client): void {
    client.watch?.close();
    client.socket.close();
    this.#clients.delete(client);
    this.#restock();
  }

  /** Lets go of everything: on AGL's driver the end of the devices. */
  close(): void {
    clearTimeout(this.#pause);
    this.#accepting?.close();
    this.#listener.close();
    for (const client of this.#clients) this.#part(client);
    for (const name of [...this.#held.keys()]) this.#remove(name);
    this.#spare?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Counts a request. @returns whether the client makes more than anybody needs */
function isFlood(client: Client, now: number): boolean {
  if (now - client.since >= 1000) Object.assign(client, { since: now, requests: 0 });
  return ++client.requests > MAX_REQUESTS_A_SECOND;
}

/** @returns whether the reply went out whole: who does not read what it asked for is not waited for */
function answer(socket: UnixSocket, reply: Reply, fds: readonly Fd[] = []): boolean {
  const bytes = encodeReply(reply);
  return socket.send(bytes, 0, bytes.length, fds.map(({ number }) => number)) === bytes.length;
}

function without(reply: Reply): Answer {
  return { reply, fds: [] };
}

function nothing(): Reply {
  return { verdict: "nothing", text: "" };
}

function refused(text: string): Reply {
  return { verdict: "refused", text };
}

function exhausted(): Reply {
  return { verdict: "exhausted", text: "it has no descriptor left" };
}
