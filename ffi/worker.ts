// SPDX-License-Identifier: Apache-2.0
/**
 * Workers that spend their life blocked in an epoll wait, and how the isolate that owns one talks to it.
 *
 * A call is posted as a message, then announced by an eventfd that the Worker watches like any other; the Worker takes
 * as many messages as the eventfd counts, answers each, and blocks again. What the Worker has to report by itself it
 * posts; that needs no turn of its own event loop.
 *
 * @module
 */
import type { Epoll } from "./epoll.ts";
import { EPOLLIN } from "./epoll.ts";
import { EventFd, signalEvent, takeEvent } from "./fd.ts";

type ToWorker = { id: number; name: string; argument: unknown };
type ToOwner =
  | { id: number; value: unknown }
  | { id: number; error: string; stack?: string | undefined }
  | { event: unknown }
  | { failure: string; stack?: string | undefined };

/** The number of the answer that tells of set-up; calls are numbered from 1. */
const SET_UP = 0;
/** The call by which the owner asks the Worker to end. */
const END = "end";

/** The functions a Worker offers to its owner; each may be async, the Worker does nothing else meanwhile. */
// deno-lint-ignore no-explicit-any -- each handler names its own argument; the owner's call names it too
export type Handlers = Record<string, (argument: any) => unknown>;

/** Options of a {@linkcode BlockingWorker}. */
export interface BlockingWorkerOptions {
  /** How it is called in errors. */
  name: string;
  /** Handed to the Worker's set-up function. */
  init: unknown;
  /** Called with what the Worker reports by itself. */
  onEvent?: (event: unknown) => void;
  /** Called once if the Worker fails outside a call. It has ended then. */
  onFailure?: (error: Error) => void;
}

/** The owner's side of a Worker that blocks. */
export class BlockingWorker implements AsyncDisposable {
  /** Settles when the Worker is set up; rejects with what its set-up threw, when it has ended. */
  readonly ready: Promise<void>;
  #worker: Worker;
  #doorbell = EventFd.create();
  #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;
  #failure: Error | null = null;
  #closed: Promise<void> | null = null;

  /**
   * Begins to start a Worker. Calls may be made at once: they are answered when it is {@linkcode ready}, which counts
   * towards their deadlines.
   *
   * @param script Calls {@linkcode serveBlocking}
   */
  constructor(script: URL, readonly options: BlockingWorkerOptions) {
    this.#worker = new Worker(script, { type: "module", name: options.name });
    this.#worker.onmessage = (message: MessageEvent<ToOwner>) => this.#receive(message.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(`${options.name} failed: ${event.message}`));
    };
    this.#worker.postMessage({ doorbell: this.#doorbell.number, init: options.init });
    this.ready = this.#settled();
    this.ready.catch(() => {}); // whoever cares awaits it
  }

  /** Starts a Worker, and waits until it is set up. @throws {Error} what its set-up threw */
  static async start(script: URL, options: BlockingWorkerOptions): Promise<BlockingWorker> {
    const worker = new BlockingWorker(script, options);
    await worker.ready;
    return worker;
  }

  async #settled(): Promise<void> {
    try {
      await this.#expect(SET_UP);
    } catch (error) {
      this.#failure = error as Error;
      this.#rejectAll(this.#failure);
      await this.close();
      throw error;
    }
  }

  /**
   * Runs a handler of the Worker.
   *
   * @param deadlineMs How long to wait for its answer
   * @returns what the handler returned
   * @throws {Error} what the handler threw, or that the Worker ended or did not answer in time
   */
  async call<T>(name: string, argument?: unknown, deadlineMs = 10_000): Promise<T> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#closed !== null && name !== END) {
      throw new Error(`Cannot call ${name} of ${this.options.name}: it is closed`);
    }
    const id = this.#nextId++;
    this.#worker.postMessage({ id, name, argument } satisfies ToWorker);
    const answer = this.#expect(id);
    signalEvent(this.#doorbell.number);
    const timer = setTimeout(() => {
      const text = `${this.options.name} did not answer ${name} within ${deadlineMs} ms`;
      this.#settle(id)?.reject(new Error(text));
    }, deadlineMs);
    try {
      return await answer as T;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether it failed outside a call: it does nothing any more. */
  get failed(): boolean {
    return this.#failure !== null;
  }

  #expect(id: number): Promise<unknown> {
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(id, pending);
    return pending.promise;
  }

  #settle(id: number): PromiseWithResolvers<unknown> | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #receive(message: ToOwner): void {
    if ("event" in message) this.options.onEvent?.(message.event);
    else if ("failure" in message) this.#fail(rebuild(message.failure, message.stack));
    else if ("error" in message) {
      this.#settle(message.id)?.reject(rebuild(message.error, message.stack));
    } else this.#settle(message.id)?.resolve(message.value);
  }

  #fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#rejectAll(error);
    if (this.#closed === null) this.options.onFailure?.(error);
  }

  #rejectAll(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  /** Asks the Worker to end, waits for it, and frees it; again waits for the same end. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    let hangs = false;
    try {
      if (this.#failure === null) await this.call(END, undefined, 5_000);
    } catch {
      hangs = this.#failure === null;
    }
    this.#worker.terminate();
    this.#rejectAll(new Error(`${this.options.name} was closed before it answered`));
    if (!hangs) this.#doorbell.close(); // else it would wait for it for ever, should it come back
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function rebuild(message: string, stack: string | undefined): Error {
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** What a Worker's set-up makes of its `init`. */
export interface BlockingService {
  /** The calls it answers. */
  handlers: Handlers;
  /** What it waits with. The owner's doorbell is added to it. */
  epoll: Epoll;
  /** The longest wait in milliseconds, asked before each; −1 or absent for ever. */
  timeoutMs?: () => number;
  /** Handles what `epoll.found[0 … 2n−1]` holds; n is 0 after a time-out. Events with the key {@linkcode OWNER_KEY} are not its. */
  turn(n: number): void;
  /** Frees what set-up took. */
  close(): void;
}

/** The epoll key of the owner's doorbell. */
export const OWNER_KEY = 0xffffffff;

// The Worker global scope's own names, which the window's types lack.
interface WorkerScope {
  postMessage(message: unknown): void;
  onmessage: ((message: MessageEvent) => void) | null;
  close(): void;
}
const scope = globalThis as unknown as WorkerScope;

/** Reports something to the owner, from inside a Worker; delivered although the Worker blocks. */
export function reportToOwner(event: unknown): void {
  scope.postMessage({ event } satisfies ToOwner);
}

/**
 * A Worker script's main: sets up with the owner's `init`, then waits, turns and answers calls until asked to end.
 *
 * @param setUp Builds the service; may be async
 */
export function serveBlocking<Init>(
  setUp: (init: Init) => BlockingService | Promise<BlockingService>,
): void {
  const inbox: ToWorker[] = [];
  let arrived: (() => void) | null = null;
  scope.onmessage = async (first: MessageEvent<{ doorbell: number; init: Init }>) => {
    scope.onmessage = (message: MessageEvent<ToWorker>) => {
      inbox.push(message.data);
      arrived?.();
    };
    let service: BlockingService | null = null;
    try {
      service = await setUp(first.data.init);
      scope.postMessage({ id: SET_UP, value: undefined } satisfies ToOwner);
      await serve(service, first.data.doorbell, async () => {
        while (inbox.length === 0) {
          await new Promise<void>((resolve) => arrived = resolve);
          arrived = null;
        }
        return inbox.shift()!;
      });
    } catch (error) {
      const { message, stack } = error as Error;
      if (service === null) {
        scope.postMessage({ id: SET_UP, error: message, stack } satisfies ToOwner);
      } else scope.postMessage({ failure: message, stack } satisfies ToOwner);
    } finally {
      service?.close();
    }
  };
}

async function serve(
  service: BlockingService,
  doorbell: number,
  nextCall: () => Promise<ToWorker>,
): Promise<void> {
  const { epoll, handlers } = service;
  epoll.add(doorbell, EPOLLIN, OWNER_KEY);
  while (true) {
    const n = epoll.wait(service.timeoutMs?.() ?? -1);
    let called = false;
    for (let i = 0; i < n; i++) if (epoll.found[2 * i] === OWNER_KEY) called = true;
    if (n === 0 || !called || n > 1) service.turn(n);
    if (!called) continue;
    for (let count = takeEvent(doorbell); count > 0; count--) {
      const { id, name, argument } = await nextCall();
      if (name === END) {
        epoll.remove(doorbell);
        service.close();
        service.close = () => {};
        scope.postMessage({ id, value: undefined } satisfies ToOwner);
        return;
      }
      try {
        const handler = handlers[name];
        if (handler === undefined) throw new Error(`Cannot call ${name}: there is no such handler`);
        scope.postMessage({ id, value: await handler(argument) } satisfies ToOwner);
      } catch (error) {
        const { message, stack } = error as Error;
        scope.postMessage({ id, error: message, stack } satisfies ToOwner);
      }
    }
  }
}
