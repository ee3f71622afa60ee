// SPDX-License-Identifier: Apache-2.0
/**
 * Workers that block in an epoll wait, and calls from their owner's isolate to them.
 *
 * A call is posted as a message, then announced by an eventfd that the Worker watches like any other; the Worker takes
 * as many messages as the eventfd counts, answers each, and blocks again. Events of the Worker are posted as
 * messages, too; that needs no turn of its own event loop.
 *
 * @module
 */
import { type Aside, doAside, leaveAside } from "./aside.ts";
import type { Epoll } from "./epoll.ts";
import { EPOLLIN } from "./epoll.ts";
import { EventFd, signalEvent, takeEvent } from "./fd.ts";

/**
 * The contract between a Worker and its owner: a wrong call, argument, result or event does not compile. Values
 * are cloned between the two; functions cannot be.
 *
 * ```ts ignore
 * interface Adder {
 *   init: { base: number };
 *   calls: { add(a: number, b: number): number };
 *   event: never;
 * }
 * const adder = new BlockingWorker<Adder>(script, { name: "adder", init: { base: 1 } });
 * const sum: number = await adder.call("add", 2, 3);
 * ```
 */
export interface WorkerContract {
  /** Argument of the Worker's set-up. */
  init: unknown;
  /** Calls to the Worker. A handler may be async: the result is what its promise resolves with. */
  calls: Record<string, (...args: never[]) => unknown>;
  /** What the Worker reports without a call. */
  event: unknown;
}

/** The names of a contract's calls. */
export type CallName<C extends WorkerContract> = keyof C["calls"] & string;
/** Arguments of a call. */
export type CallArguments<C extends WorkerContract, Name extends CallName<C>> = Parameters<
  C["calls"][Name]
>;
/** Result of a call. */
export type CallResult<C extends WorkerContract, Name extends CallName<C>> = ReturnType<
  C["calls"][Name]
>;

/** The handlers of a contract's calls; the Worker does nothing else while one runs. */
export type Handlers<C extends WorkerContract> = {
  [Name in CallName<C>]: (
    ...args: CallArguments<C, Name>
  ) => CallResult<C, Name> | Promise<CallResult<C, Name>>;
};

type ToWorker = { id: number; name: string; args: unknown[] } | { id: number; end: true };
type ToOwner =
  | { id: number; value: unknown }
  | { id: number; error: SentError }
  | { event: unknown }
  | { aside: Aside }
  | { failure: SentError };

/** The fields of an error that are sent to the owner: its class cannot be cloned. */
interface SentError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Its errno's name, or that of its cause, if it has one. */
  readonly code: string | undefined;
}

/** The number of the set-up's answer; calls are numbered from 1. */
const SET_UP = 0;
/** How long a Worker may take to answer, in milliseconds, unless the owner sets another deadline. */
const DEADLINE_MS = 10_000;
/** How long it may take to end, in milliseconds. */
const END_MS = 5_000;

/** Options of a {@linkcode BlockingWorker}. */
export interface BlockingWorkerOptions<C extends WorkerContract> {
  /** The Worker's name in errors. */
  name: string;
  /** Argument of the Worker's set-up function. */
  init: C["init"];
  /** Called with each event of the Worker. */
  onEvent?: (event: C["event"]) => void;
  /** Called once if the Worker fails outside a call; it has then ended. */
  onFailure?: (error: Error) => void;
}

/** The owner's side of a Worker that blocks. */
export class BlockingWorker<C extends WorkerContract> implements AsyncDisposable {
  /** Resolves when the Worker is set up; rejects with what its set-up threw, once the Worker has ended. */
  readonly ready: Promise<void>;
  readonly #name: string;
  readonly #onEvent: ((event: C["event"]) => void) | undefined;
  readonly #onFailure: ((error: Error) => void) | undefined;
  #worker: Worker;
  #doorbell = EventFd.create();
  #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;
  #failure: Error | null = null;
  #closed: Promise<void> | null = null;

  /**
   * Starts a Worker. Calls may be made at once: they are answered when it is {@linkcode ready}, and the time until
   * then counts towards their deadlines.
   *
   * @param script Calls {@linkcode serveBlocking}
   */
  constructor(script: URL, options: BlockingWorkerOptions<C>) {
    this.#name = options.name;
    this.#onEvent = options.onEvent;
    this.#onFailure = options.onFailure;
    this.#worker = new Worker(script, { type: "module", name: options.name });
    this.#worker.onmessage = (message: MessageEvent<ToOwner>) => this.#receive(message.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(`${options.name} failed: ${event.message}`));
    };
    this.#worker.postMessage({ doorbell: this.#doorbell.number, init: options.init });
    this.ready = this.#settled();
    this.ready.catch(() => {}); // owners that need it await it
  }

  /** Starts a Worker, and waits until it is set up. @throws {Error} what its set-up threw */
  static async start<C extends WorkerContract>(
    script: URL,
    options: BlockingWorkerOptions<C>,
  ): Promise<BlockingWorker<C>> {
    const worker = new BlockingWorker<C>(script, options);
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

  /** Runs a handler of the Worker with a deadline of 10 s, see {@linkcode callWithin}. */
  call<Name extends CallName<C>>(
    name: Name,
    ...args: CallArguments<C, Name>
  ): Promise<CallResult<C, Name>> {
    return this.callWithin(DEADLINE_MS, name, ...args);
  }

  /**
   * Runs a handler of the Worker.
   *
   * @param deadlineMs How long to wait for its answer
   * @returns what the handler returned
   * @throws {Error} what the handler threw, or that the Worker ended or did not answer in time
   */
  async callWithin<Name extends CallName<C>>(
    deadlineMs: number,
    name: Name,
    ...args: CallArguments<C, Name>
  ): Promise<CallResult<C, Name>> {
    if (this.#closed !== null) {
      throw this.#failure ?? new Error(`Cannot call ${name} of ${this.#name}: it is closed`);
    }
    const value = await this.#ask(deadlineMs, name, (id) => ({ id, name, args }));
    return value as CallResult<C, Name>; // Handlers<C> is what returned it
  }

  async #ask(
    deadlineMs: number,
    what: string,
    message: (id: number) => ToWorker,
  ): Promise<unknown> {
    if (this.#failure !== null) throw this.#failure;
    const id = this.#nextId++;
    this.#worker.postMessage(message(id));
    const answer = this.#expect(id);
    signalEvent(this.#doorbell.number);
    const timer = setTimeout(() => {
      const text = `${this.#name} did not answer ${what} within ${deadlineMs} ms`;
      this.#settle(id)?.reject(new Error(text));
    }, deadlineMs);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether it failed outside a call and has ended. */
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
    if ("event" in message) this.#onEvent?.(message.event as C["event"]);
    else if ("aside" in message) doAside(message.aside);
    else if ("failure" in message) this.#fail(rebuild(message.failure));
    else if ("error" in message) {
      this.#settle(message.id)?.reject(rebuild(message.error));
    } else this.#settle(message.id)?.resolve(message.value);
  }

  #fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#rejectAll(error);
    if (this.#closed === null) this.#onFailure?.(error);
  }

  #rejectAll(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  /** Asks the Worker to end, waits for that, and frees it. Calling it again waits for the same end. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    let hangs = false;
    try {
      if (this.#failure === null) await this.#ask(END_MS, "end", (id) => ({ id, end: true }));
    } catch {
      hangs = this.#failure === null;
    }
    this.#worker.terminate();
    this.#rejectAll(new Error(`${this.#name} was closed before it answered`));
    if (!hangs) this.#doorbell.close(); // a hung Worker that recovers would otherwise wait for the doorbell for ever
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function sent(thrown: unknown): SentError {
  const { name, message, stack, cause, code } = thrown as Error & { code?: unknown };
  const errno = code ?? (cause as { code?: unknown } | undefined)?.code;
  return { name, message, stack, code: typeof errno === "string" ? errno : undefined };
}

/** An error as it was sent, with its name and `code`. */
function rebuild({ name, message, stack, code }: SentError): Error {
  const error = new Error(message);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}

/** Result of a Worker's set-up. */
export interface BlockingService<C extends WorkerContract> {
  /** The calls it answers. */
  handlers: Handlers<C>;
  /** The epoll descriptor it waits with. The owner's doorbell is added to it. */
  epoll: Epoll;
  /** The longest wait in milliseconds, called before each; −1 or absent: for ever. */
  timeoutMs?: () => number;
  /** Handles what `epoll.found[0 … 2n−1]` holds; n is 0 after a timeout. Ignores events with the key {@linkcode OWNER_KEY}. */
  turn(n: number): void;
  /** Frees what the set-up allocated. */
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

/** Sends an event to the owner; it is delivered even while the Worker blocks. */
export type Report<Event> = (event: Event) => void;

/** The service for a contract; for a union of contracts, that of any of them. */
export type ServiceOf<C extends WorkerContract> = C extends WorkerContract ? BlockingService<C>
  : never;

/** A service of any contract, for the loop that all have. */
type AnyService = Omit<BlockingService<WorkerContract>, "handlers"> & {
  handlers: Readonly<Record<string, (...args: never[]) => unknown>>;
};

/**
 * The main function of a Worker script: sets up with the owner's `init`, then waits and answers calls until the owner ends it.
 *
 * @param setUp Builds the service; may be async
 */
export function serveBlocking<C extends WorkerContract>(
  setUp: (
    init: C["init"],
    report: Report<C["event"]>,
  ) => ServiceOf<C> | Promise<ServiceOf<C>>,
): void {
  const report: Report<C["event"]> = (event) => scope.postMessage({ event } satisfies ToOwner);
  leaveAside((aside) => scope.postMessage({ aside } satisfies ToOwner));
  const inbox: ToWorker[] = [];
  let arrived: (() => void) | null = null;
  scope.onmessage = async (first: MessageEvent<{ doorbell: number; init: C["init"] }>) => {
    scope.onmessage = (message: MessageEvent<ToWorker>) => {
      inbox.push(message.data);
      arrived?.();
    };
    let service: AnyService | null = null;
    try {
      service = await setUp(first.data.init, report);
      scope.postMessage({ id: SET_UP, value: undefined } satisfies ToOwner);
      await serve(service, first.data.doorbell, async () => {
        while (inbox.length === 0) {
          await new Promise<void>((resolve) => arrived = resolve);
          arrived = null;
        }
        return inbox.shift()!;
      });
    } catch (error) {
      if (service === null) {
        scope.postMessage({ id: SET_UP, error: sent(error) } satisfies ToOwner);
      } else scope.postMessage({ failure: sent(error) } satisfies ToOwner);
    } finally {
      service?.close();
    }
  };
}

async function serve(
  service: AnyService,
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
      const call = await nextCall();
      if ("end" in call) {
        epoll.remove(doorbell);
        service.close();
        service.close = () => {};
        scope.postMessage({ id: call.id, value: undefined } satisfies ToOwner);
        return;
      }
      await answer(call.id, () => invoke(handlers, call.name, call.args));
    }
  }
}

async function answer(id: number, run: () => unknown): Promise<void> {
  try {
    scope.postMessage({ id, value: await run() } satisfies ToOwner);
  } catch (error) {
    scope.postMessage({ id, error: sent(error) } satisfies ToOwner);
  }
}

/** The compiler has checked the contract; this reports a call from an owner of another version. */
function invoke(handlers: AnyService["handlers"], name: string, args: unknown[]): unknown {
  if (!Object.hasOwn(handlers, name)) {
    throw new Error(`Cannot call ${name}: there is no such handler`);
  }
  return handlers[name]!(...args as never[]);
}
