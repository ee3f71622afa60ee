// SPDX-License-Identifier: Apache-2.0
/**
 * The descriptor store where there is no systemd: a process of viola's own, which is started when there is to be something
 * to hold, and started again when it ends.
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

/** How long the store process may take to answer: it does nothing else, but the machine may. */
const REPLY_MS = 10_000;
/** How long a viola that was just killed may take to lose its names, and whatever else fails for a moment only. */
const PERSIST_MS = 3000;
/** How long it may take to start: on a busy machine that is long, and without it a node would be lost. */
const START_MS = 15_000;
/** The longest wait until a put that failed is tried again; each time it is twice as long. */
const MOST_RETRY_MS = 60_000;
/** A store process that lasted so long is started again at once when it ends; one that did not, after a wait, as above. */
const LASTING_MS = 10_000;

/** A connection over which a name is ours, for as long as it is open. */
interface Claim {
  readonly socket: UnixSocket;
  readonly watch: Watch;
}

/** What is to be held under a name until that is released. */
interface Holding {
  readonly fds: readonly number[];
  readonly report: (text: string) => void;
  /** Settles when what is being done about it is done; never rejects. */
  work: Promise<void>;
  retry: ReturnType<typeof setTimeout> | undefined;
  /** How long until the next retry; 0 before the first. */
  retryMs: number;
  /** When it was last put, on `performance.now()`'s clock. */
  heldAt: number;
  /** Why it is not held now; empty when it is. */
  problem: string;
}

/** Options of {@linkcode ProcessStore}. */
export interface ProcessStoreOptions {
  /** Where it listens. */
  readonly path: string;
  /** Starts a store process that listens at this path, by posix_spawn. */
  readonly start: (path: string) => void;
  /** The systemd service that this process is in, if it is in one. @default {ownService()} */
  readonly service?: string | null;
  /** Whose it must be. @default {Deno.uid()} */
  readonly uid?: number;
  /** How long what fails for a moment only is tried again, in milliseconds. @default {3000} */
  readonly persistMs?: number;
  /** How long until a put that failed is tried again for the first time, in milliseconds. @default {1000} */
  readonly retryMs?: number;
}

/** See the module. */
export class ProcessStore implements DescriptorStore {
  readonly path: string;
  readonly #options: ProcessStoreOptions;
  readonly #claims = new Map<string, Claim>();
  readonly #holdings = new Map<string, Holding>();
  /** A store process is being started: one for all devices. */
  #starting: Promise<void> | null = null;

  /** @throws {RangeError} when no process can listen at the path */
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
    // It may have ended in this very moment, and the descriptors are to be closed next.
    if (holder === "ended" && holding !== null) {
      await this.#hold(name, { ...holding, report: () => {} });
      holder = await this.#holder(name);
    }
    return holder === "ended" ? null : holder;
  }

  howToRemove(name: string): string {
    return `"viola forget ${name}" lets go of it`;
  }

  close(): void {
    for (const holding of this.#holdings.values()) clearTimeout(holding.retry);
    this.#holdings.clear();
    for (const name of [...this.#claims.keys()]) this.#unclaim(name)!.close();
  }

  /** Ends a holding, when what is being done about it is done. */
  async #stop(name: string): Promise<Holding | null> {
    const holding = this.#holdings.get(name);
    if (holding === undefined) return null;
    this.#holdings.delete(name);
    clearTimeout(holding.retry);
    await holding.work;
    clearTimeout(holding.retry);
    return holding;
  }

  /** Has the store process hold it; if that cannot be, says so, and tries again later. */
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

  /** Backs off. */
  #holdLater(name: string, holding: Holding): void {
    if (this.#holdings.get(name) !== holding) return;
    const { retryMs } = holding;
    const again = (): void => void (holding.work = this.#hold(name, holding));
    holding.retry = setTimeout(again, retryMs);
    holding.retryMs = Math.min(2 * retryMs || this.#retryMs, MOST_RETRY_MS);
  }

  /** The store process's end: what it held must be held by another, before this process ends. */
  #onLost(name: string): void {
    this.#unclaim(name)?.close();
    const holding = this.#holdings.get(name);
    if (holding === undefined) return;
    holding.report(`the store process at ${this.path} ended; starting another to hold ${name}`);
    if (performance.now() - holding.heldAt >= LASTING_MS) holding.retryMs = 0;
    this.#holdLater(name, holding);
  }

  /** Gives a name up. @returns who holds its descriptors; null: nobody, as the store process says; "ended": it says nothing */
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

  /** Tries again what fails for a moment only: a viola that was just killed still has the name, or the store process ends. */
  async #persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (const deadline = performance.now() + (this.#options.persistMs ?? PERSIST_MS);;) {
      try {
        return await attempt();
      } catch (error) {
        const isPassing = PASSING.includes((error as OsError).code);
        if (!isPassing || performance.now() > deadline) throw error;
      }
      await pause(50);
    }
  }

  /** Makes a request after which the name is ours. @param socket Closed if it is not */
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

  /** null when no store process runs. @throws {Error} when it is another user's, or could be */
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
    socket.close();
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
   * @returns the descriptors of a reply to `take`, each the caller's; others' are closed
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

/** What a request may fail with now and not in a moment. */
const PASSING = ["EBUSY", "ECONNRESET", "EPIPE", "EAGAIN", "EMFILE"];
const CODES = { "in use": "EBUSY", refused: "EPROTO", exhausted: "EMFILE" } as const;

function isFine(verdict: Verdict): verdict is "done" | "nothing" {
  return verdict === "done" || verdict === "nothing";
}

class Refusal extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** Sends a request; who has hung up may have said why, which is read next. @throws {OsError} */
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
  if (length === 0) throw new Refusal("ECONNRESET", "it hung up");
  return decodeReply(buffer.subarray(0, length));
}

/** Nobody listens there, or there is no such place yet. */
function isAbsent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    ["ENOENT", "ECONNREFUSED"].includes((error as OsError).code);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
