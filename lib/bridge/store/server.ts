// SPDX-License-Identifier: Apache-2.0
/**
 * The store process's server: holds descriptors by name, and sends copies of them.
 *
 * A misbehaving client loses its connection, nothing else. A store that runs out of descriptors keeps those it holds, and
 * answers new requests with `exhausted`.
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
/** The most requests of a connection in a second; a viola process makes only a few in all. */
export const MAX_REQUESTS_A_SECOND = 100;
/** How long the server stops accepting when it cannot even reject a connection, in milliseconds. */
const PAUSE_MS = 100;

/** A connection: of a viola process for one device, or of a command such as `viola forget`. */
interface Client {
  readonly socket: UnixSocket;
  watch: Watch | null;
  /** The name that this connection has claimed; nobody else can claim it meanwhile. */
  name: string | null;
  /** Its requests since {@linkcode Client.since}. */
  requests: number;
  since: number;
}

/** The answer to a request: the reply, and the descriptors sent with it. */
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
  /** In the order in which they connected. */
  readonly #clients = new Set<Client>();
  /** A reserved descriptor, closed to accept and reject a connection when no other is left. */
  #spare: Fd | null = EventFd.create();
  /** Runs while accepting is suspended. */
  #pause: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param path Its socket, in a folder that belongs to the user
   * @param options.uid The user it serves. @default {Deno.uid()}
   * @param options.now A monotonic clock, in milliseconds
   * @throws {OsError} EADDRINUSE when another store process listens there
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
    const socket = this.#acceptSocket();
    if (socket === null) return;
    const client: Client = { socket, watch: null, name: null, requests: 0, since: 0 };
    this.#clients.add(client);
    try {
      if (socket.peer().uid !== this.#uid) throw new Error("another user's");
      client.watch = this.reactor.watch(socket.number, EPOLLIN, () => this.#onReadable(client));
    } catch {
      return this.#disconnect(client);
    }
    if (this.#clients.size <= MAX_CLIENTS) return;
    const idle = this.#clients.values().find(({ name }) => name === null) ?? client;
    this.#disconnect(idle);
  }

  /** Accepts a connection, or rejects it when there is no descriptor for it: left pending, it would wake the server again at once. */
  #acceptSocket(): UnixSocket | null {
    try {
      return this.#listener.accept();
    } catch {
      this.#rejectConnection();
      return null;
    }
  }

  #rejectConnection(): void {
    this.#spare?.close();
    this.#spare = null;
    try {
      using socket = this.#listener.accept();
      if (socket !== null) answer(socket, exhausted());
    } catch { // Deno took the spare descriptor meanwhile
      this.#accepting?.close();
      this.#pause = setTimeout(() => this.#listen(), PAUSE_MS);
    }
    this.#refillSpare();
  }

  #refillSpare(): void {
    try {
      this.#spare ??= EventFd.create();
    } catch { /* none is free: tried again when a connection ends */ }
  }

  #onReadable(client: Client): void {
    try {
      if (this.#serve(client)) return;
    } catch { /* the client is gone or sent a malformed request: nothing changed */ }
    this.#disconnect(client);
  }

  /** @returns whether the client stays connected @throws {Error} when it must be disconnected */
  #serve(client: Client): boolean {
    const { bytes, fds, failure } = this.#receive(client);
    if (bytes === null) return true;
    if (bytes.length === 0 && failure === null) return false;
    try {
      if (isFlood(client, this.#now())) return false;
      const { reply, fds: out } = failure ?? this.#handle(client, decodeRequest(bytes), fds);
      return answer(client.socket, reply, out);
    } finally {
      for (const fd of fds) fd.close(); // those that are not held
    }
  }

  /** Receives a request; `bytes` is null when nothing has arrived. */
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

  /** Carries a request out. @param fds The descriptors received with it; those that the store keeps are removed from it */
  #handle(client: Client, { verb, name }: Request, fds: Fd[]): Answer {
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

  /** Claims a name for a client, unless the client has another name or another client has this one. */
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

  #disconnect(client: Client): void {
    client.watch?.close();
    client.socket.hangUp();
    this.#clients.delete(client);
    this.#refillSpare();
  }

  /** Closes all descriptors it holds; on AGL's driver this ends the devices. */
  close(): void {
    clearTimeout(this.#pause);
    this.#accepting?.close();
    this.#listener.close();
    for (const client of this.#clients) this.#disconnect(client);
    for (const name of [...this.#held.keys()]) this.#remove(name);
    this.#spare?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Counts a request. @returns whether the client exceeds {@linkcode MAX_REQUESTS_A_SECOND} */
function isFlood(client: Client, now: number): boolean {
  if (now - client.since >= 1000) Object.assign(client, { since: now, requests: 0 });
  return ++client.requests > MAX_REQUESTS_A_SECOND;
}

/** Sends a reply without waiting for the client to read. @returns whether it was sent whole */
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
