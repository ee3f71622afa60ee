// SPDX-License-Identifier: Apache-2.0
/**
 * The descriptor store where there is no systemd: a process of viola's own, started when the first descriptors are stored,
 * and started again when it ends.
 *
 * @module
 */
import {
  EPOLLRDHUP,
  type Fd,
  type OsError,
  osError,
  type Reactor,
  UnixSocket,
  type Watch,
} from "../../../ffi/mod.ts";
import type { DescriptorStore } from "./descriptor_store.ts";
import { checkPathLength, checkPrivate, folderOf, makePrivate } from "./path.ts";
import { ownService } from "./service.ts";
import {
  decodeReply,
  encodeRequest,
  MAX_DESCRIPTORS,
  MAX_MESSAGE,
  type Request,
  type Verdict,
} from "./protocol.ts";

/** Deadline for a reply of the store process; it is always ready, but the machine may be busy. */
const REPLY_MS = 10_000;
/** How long transient errors are retried, such as a name still claimed by a viola that was just killed. */
const PERSIST_MS = 3000;
/** Deadline for the store process to start; generous, since a busy machine is slow and a node without a store is lost. */
const START_MS = 15_000;
/** The longest wait before a failed put is repeated; the wait doubles each time. */
const MOST_RETRY_MS = 60_000;
/** A store process that ends after this time is started again at once; one that ends sooner, after the wait above. */
const LASTING_MS = 10_000;

/** An open connection, which claims a name. */
interface Claim {
  readonly socket: UnixSocket;
  readonly watch: Watch;
}

/** The descriptors to hold under a name until it is released. */
interface Holding {
  readonly fds: readonly number[];
  readonly report: (text: string) => void;
  /** Settles when the put in progress has ended; never rejects. */
  work: Promise<void>;
  retry: ReturnType<typeof setTimeout> | undefined;
  /** The wait before the next retry, in milliseconds; 0 before the first. */
  retryMs: number;
  /** Time of the last successful put, by `performance.now()`. */
  heldAt: number;
  /** Why the descriptors are not held now; empty when they are. */
  problem: string;
}

/** Options of {@linkcode ProcessStore}. */
export interface ProcessStoreOptions {
  /** Path of the store process's socket. */
  readonly path: string;
  /** Starts a store process that listens at this path, by posix_spawn. */
  readonly start: (path: string) => void;
  /** The systemd service that this process runs in, if any. @default {ownService()} */
  readonly service?: string | null;
  /** The user that the store process must belong to. @default {Deno.uid()} */
  readonly uid?: number;
  /** How long transient errors are retried, in milliseconds. @default {3000} */
  readonly persistMs?: number;
  /** The first wait before a failed put is repeated, in milliseconds. @default {1000} */
  readonly retryMs?: number;
}

/** See the module. */
export class ProcessStore implements DescriptorStore {
  readonly path: string;
  readonly #options: ProcessStoreOptions;
  readonly #claims = new Map<string, Claim>();
  readonly #holdings = new Map<string, Holding>();
  /** Set while a store process is being started; all devices share one. */
  #starting: Promise<void> | null = null;

  /** @throws {RangeError} when the path is too long for a socket */
  constructor(readonly reactor: Reactor, options: ProcessStoreOptions) {
    checkPathLength(options.path);
    this.path = options.path;
    this.#options = options;
  }

  get #retryMs(): number {
    return this.#options.retryMs ?? 1000;
  }

  async prepare(): Promise<void> {
    using _socket = await this.#persist(() => this.#connectOrStart());
  }

  take(name: string): Promise<Fd[]> {
    return this.#persist(async () => {
      const socket = this.#connect();
      return socket === null ? [] : (await this.#claim(socket, { verb: "take", name }, [])).fds;
    });
  }

  async put(name: string, fds: readonly number[], report: (text: string) => void): Promise<void> {
    await this.#stop(name);
    const holding: Holding = {
      ...{ fds, report, work: Promise.resolve(), problem: "" },
      ...{ retry: undefined, retryMs: 0, heldAt: 0 },
    };
    this.#holdings.set(name, holding);
    const { service = ownService() } = this.#options;
    if (service !== null) {
      report(
        `the store process that holds ${name} ends with ${service}, of which systemd holds no descriptors ` +
          "(FileDescriptorStoreMax=16 in its unit)",
      );
    }
    await (holding.work = this.#hold(name, holding));
  }

  async remove(name: string): Promise<boolean> {
    const request: Request = { verb: "remove", name };
    const ours = this.#unclaim(name);
    if (ours !== null) return (await this.#claim(ours, request, [])).verdict === "done";
    using socket = this.#connect();
    return socket !== null && (await this.#ask(socket, request, [])).verdict === "done";
  }

  async release(name: string): Promise<string | null> {
    const holding = await this.#stop(name);
    let holder = await this.#holder(name);
    // The store process may have ended just now, and the caller closes the descriptors next: put them once more.
    if (holder === "ended" && holding !== null) {
      await this.#hold(name, { ...holding, report: () => {} });
      holder = await this.#holder(name);
    }
    return holder === "ended" ? null : holder;
  }

  howToRemove(name: string): string {
    return `"viola forget ${name}" releases it`;
  }

  close(): void {
    for (const holding of this.#holdings.values()) clearTimeout(holding.retry);
    this.#holdings.clear();
    for (const name of [...this.#claims.keys()]) this.#unclaim(name)!.close();
  }

  /** Stops holding a name, after a put in progress. */
  async #stop(name: string): Promise<Holding | null> {
    const holding = this.#holdings.get(name);
    if (holding === undefined) return null;
    this.#holdings.delete(name);
    clearTimeout(holding.retry);
    await holding.work;
    clearTimeout(holding.retry);
    return holding;
  }

  /** Puts the descriptors into the store process; on failure reports it and retries later. */
  async #hold(name: string, holding: Holding): Promise<void> {
    try {
      await this.#persist(async () => {
        const socket = this.#unclaim(name) ?? await this.#connectOrStart();
        await this.#claim(socket, { verb: "put", name }, holding.fds);
      });
      Object.assign(holding, { problem: "", heldAt: performance.now() });
    } catch (error) {
      const { message } = error as Error;
      if (message !== holding.problem) {
        holding.report(`Cannot store the descriptors of ${name}: ${message}`);
      }
      holding.problem = message;
      holding.retryMs ||= this.#retryMs;
      this.#holdLater(name, holding);
    }
  }

  /** Retries later, backing off. */
  #holdLater(name: string, holding: Holding): void {
    if (this.#holdings.get(name) !== holding) return;
    const { retryMs } = holding;
    const again = (): void => void (holding.work = this.#hold(name, holding));
    holding.retry = setTimeout(again, retryMs);
    holding.retryMs = Math.min(2 * retryMs || this.#retryMs, MOST_RETRY_MS);
  }

  /** The store process ended: starts another one and puts the descriptors there. */
  #onLost(name: string): void {
    this.#unclaim(name)?.close();
    const holding = this.#holdings.get(name);
    if (holding === undefined) return;
    holding.report(`the store process at ${this.path} ended; starting another to hold ${name}`);
    if (performance.now() - holding.heldAt >= LASTING_MS) holding.retryMs = 0;
    this.#holdLater(name, holding);
  }

  /** Gives up a claim. @returns text naming what holds the descriptors; null: nothing does; "ended": the store process is gone */
  async #holder(name: string): Promise<string | null | "ended"> {
    using socket = this.#unclaim(name);
    if (socket === null) return "ended";
    try {
      const { verdict } = await this.#ask(socket, { verb: "has", name }, []);
      return verdict === "done" ? `the store process ${socket.peer().pid} at ${this.path}` : null;
    } catch {
      return "ended";
    }
  }

  /** Retries on transient errors: a viola that was just killed still has the name, or the store process is ending. */
  async #persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (const deadline = performance.now() + (this.#options.persistMs ?? PERSIST_MS);;) {
      try {
        return await attempt();
      } catch (error) {
        const isTransient = TRANSIENT.includes((error as OsError).code);
        if (!isTransient || performance.now() > deadline) throw error;
      }
      await pause(50);
    }
  }

  /** Makes a request that claims the name. @param socket Closed if that fails */
  async #claim(
    socket: UnixSocket,
    request: Request,
    fds: readonly number[],
  ): Promise<{ verdict: Verdict; fds: Fd[] }> {
    const { name } = request;
    using undo = new DisposableStack();
    undo.use(socket);
    const reply = await this.#ask(socket, request, fds);
    for (const fd of reply.fds) undo.use(fd);
    const onLost = (): void => this.#onLost(name);
    const watch = this.reactor.watch(socket.number, EPOLLRDHUP, onLost);
    this.#claims.set(name, { socket, watch });
    undo.move();
    return reply;
  }

  #unclaim(name: string): UnixSocket | null {
    const claim = this.#claims.get(name);
    this.#claims.delete(name);
    claim?.watch.close();
    return claim?.socket ?? null;
  }

  /** Connects; null when no store process runs. @throws {Error} when it belongs to another user, or could */
  #connect(): UnixSocket | null {
    try {
      checkPrivate(folderOf(this.path));
      const socket = UnixSocket.connect(this.path);
      return this.#checkPeer(socket);
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  #checkPeer(socket: UnixSocket): UnixSocket {
    const { uid = Deno.uid() } = this.#options;
    const peer = socket.peer();
    if (peer.uid === uid) return socket;
    socket.hangUp();
    const whose = `it is process ${peer.pid} of user ${peer.uid}, expected user ${uid}`;
    throw osError(`use the descriptor store at ${this.path} (${whose})`, "EPERM");
  }

  async #connectOrStart(): Promise<UnixSocket> {
    const running = this.#connect();
    if (running !== null) return running;
    this.#starting ??= this.#start().finally(() => this.#starting = null);
    await this.#starting;
    return this.#connect() ?? this.#absent();
  }

  #absent(): never {
    throw osError(`reach the store process at ${this.path}`, "ECONNREFUSED");
  }

  /** Starts a store process and waits until it listens. */
  async #start(): Promise<void> {
    const folder = folderOf(this.path);
    makePrivate(folder);
    this.#options.start(this.path);
    for (const deadline = performance.now() + START_MS; performance.now() < deadline;) {
      using socket = this.#connect();
      if (socket !== null) return;
      await pause(20);
    }
    throw osError(`start a store process at ${this.path}`, "ETIMEDOUT");
  }

  /**
   * Sends a request and waits for the reply.
   *
   * @returns the verdict, and the descriptors of a reply to `take`, owned by the caller
   * @throws {OsError} for every verdict but "done" and "nothing", and when there is no reply
   * @throws {TypeError} when the reply is malformed
   */
  async #ask(
    socket: UnixSocket,
    request: Request,
    fds: readonly number[],
  ): Promise<{ verdict: Verdict; fds: Fd[] }> {
    sendRequest(socket, request, fds);
    await this.reactor.readable(socket, REPLY_MS);
    const buffer = new Uint8Array(MAX_MESSAGE + 1);
    const { length, fds: out } = socket.receive(buffer, 0, buffer.length, MAX_DESCRIPTORS);
    try {
      const { verdict, text } = readReply(buffer, length);
      const isTaken = request.verb === "take";
      if (isFine(verdict)) return { verdict, fds: isTaken ? out.splice(0) : [] };
      throw new Refusal(CODES[verdict], verdict === "in use" ? "another viola serves it" : text);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const what = `${request.verb} ${request.name} at the descriptor store ${this.path}`;
      throw osError(`${what} (${error.message})`, error.code);
    } finally {
      for (const fd of out) fd.close();
    }
  }
}

/** Errors of requests that may succeed a moment later. */
const TRANSIENT = ["EBUSY", "ECONNRESET", "EPIPE", "EAGAIN", "EMFILE"];
const CODES = { "in use": "EBUSY", refused: "EPROTO", exhausted: "EMFILE" } as const;

function isFine(verdict: Verdict): verdict is "done" | "nothing" {
  return verdict === "done" || verdict === "nothing";
}

class Refusal extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** Sends a request. A broken connection is no error here, as the reason may still be readable. @throws {OsError} */
function sendRequest(socket: UnixSocket, request: Request, fds: readonly number[]): void {
  const bytes = encodeRequest(request);
  try {
    socket.send(bytes, 0, bytes.length, fds);
  } catch (error) {
    if ((error as OsError).code !== "EPIPE") throw error;
  }
}

function readReply(
  buffer: Uint8Array,
  length: number,
): { verdict: Verdict; text: string } {
  if (length < 0) throw new Refusal("ETIMEDOUT", `no reply in ${REPLY_MS / 1000} s`);
  if (length === 0) throw new Refusal("ECONNRESET", "it closed the connection");
  return decodeReply(buffer.subarray(0, length));
}

/** Whether an error means that no store process listens there. */
function isAbsent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    ["ENOENT", "ECONNREFUSED"].includes((error as OsError).code);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
