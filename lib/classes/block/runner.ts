// SPDX-License-Identifier: Apache-2.0
/**
 * The requests that a block device is working on.
 *
 * @module
 */
import { OsError, readAt, RWF_NOWAIT, WOULD_BLOCK } from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import type { Disk } from "./disk.ts";
import { IoPool } from "./io_pool.ts";
import { SLOT_BYTES } from "./io_slots.ts";
import { EIO, OP, operationName, perform, STABLE } from "./operations.ts";
import { Request } from "./request.ts";
import { REQUEST_HEADER_SIZE, S_IOERR, S_OK, STATUS_SIZE } from "./wire.ts";

/** How long a queue that is to stop waits for the next operation to be done, in nanoseconds; then its requests have failed. */
const DRAIN_NS = 20e9;

/** How often a device checks that its threads have started, in nanoseconds. */
const CHECK_NS = 1e9;

/** An operation that a thread has. */
interface Operation {
  readonly request: Request;
  readonly op: number;
  readonly length: number;
  /** Where its data is in the request's. */
  readonly dataOffset: number;
}

/** The requests. */
export class RequestRunner {
  /** Whether a change is on the medium before it is answered. */
  isStable = true;
  readonly #host: Pick<DeviceHost, "complete" | "report" | "watch" | "now">;
  #pool: IoPool | null = null;
  /** By slot: what its operation is for. */
  readonly #slots: (Operation | null)[] = [];
  /** Requests with operations that have no slot yet, in the order they came. */
  #waiting: Request[] = [];
  /**
   * Running operations of abandoned queues. The driver's requests are offered to the device again, so no operation begins
   * before these have ended: a write that came late would undo a later one.
   */
  #orphans = 0;
  /** A flush has failed: the host may have dropped what it could not write, and no later flush would report that. */
  #hasLost = false;
  /** Queues that are to stop, and since when, in nanoseconds. */
  readonly #draining = new Map<number, number>();
  /** When an operation was last done, in nanoseconds. */
  #lastDone = -Infinity;
  readonly #status = new Uint8Array(STATUS_SIZE);
  readonly #data = new Uint8Array(SLOT_BYTES);

  constructor(
    readonly disk: Disk,
    host: Pick<DeviceHost, "complete" | "report" | "watch" | "now">,
  ) {
    this.#host = host;
  }

  /** Answers a request. @param written Bytes before the status that were written */
  answer(queue: number, chain: Chain, status: number, written = 0): void {
    const room = chain.writableBytes - STATUS_SIZE;
    // The status lies at the end, and all before it counts as written: what was not is cleared.
    const { length } = this.#data;
    if (written < room) this.#data.fill(0);
    for (let at = written; at < room; at += length) {
      chain.scatter(at, this.#data, 0, Math.min(length, room - at));
    }
    this.#status[0] = status;
    chain.scatter(room, this.#status);
    this.#host.complete(queue, chain, chain.writableBytes);
  }

  /** Begins a request. */
  run(request: Request): void {
    if (this.#orphans === 0 && this.#waiting.length === 0) this.#runAtOnce(request);
    if (!request.hasMore) return this.#finish(request);
    this.#waiting.push(request);
    this.#submit();
  }

  /** Commits what was written, without a request of the driver. */
  flush(): void {
    this.run(new Request(-1, null, [{ op: OP.flush, position: 0, length: 0 }]));
  }

  /** Does the operations that need not wait, up to the first that must. */
  #runAtOnce(request: Request): void {
    const { isMemory } = this.disk;
    while (request.hasMore && (isMemory || request.op === OP.read)) {
      if (request.op === OP.write) this.#gather(request, this.#data, 0);
      const result = isMemory ? this.#performInMemory(request) : this.#readCached(request);
      if (result === WOULD_BLOCK) return;
      const { op, length, dataOffset } = request;
      request.advance();
      this.#done(request, op, result);
      if (result === 0 && op === OP.read) {
        request.chain!.scatter(dataOffset, this.#data, 0, length);
      }
    }
  }

  #performInMemory({ op, position, length }: Request): number {
    // Memory has no ranges of zeros but those that are not there.
    const served = op === OP.zero ? OP.zeroUnmap : op;
    return perform(this.disk.fd.number, served, position, length, this.#data, 0);
  }

  /** @returns 0, or −EAGAIN where all of it is not in the host's cache, or the file system cannot tell */
  #readCached({ position, length }: Request): number {
    const n = readAt(this.disk.fd.number, this.#data, 0, length, position, RWF_NOWAIT);
    return n === length ? 0 : WOULD_BLOCK;
  }

  #gather({ chain, dataOffset, length }: Request, target: Uint8Array, at: number): void {
    chain!.gather(REQUEST_HEADER_SIZE + dataOffset, target, at, length);
  }

  // ---- operations for the threads ----

  #startPool(): IoPool {
    return this.#pool ??= new IoPool({
      file: this.disk.fd.number,
      watch: (number, events, onEvent) => this.#host.watch(number, events, onEvent),
      onDone: (slot, result) => this.#slotDone(slot, result),
    });
  }

  /** Queues operations for as many slots as there are. */
  #submit(): void {
    while (this.#orphans === 0 && this.#waiting.length > 0) {
      const request = this.#waiting[0]!;
      if (!request.hasMore) {
        this.#waiting.shift();
        continue;
      }
      const pool = this.#startPool();
      const slot = pool.take();
      if (slot < 0) return;
      this.#queue(pool, slot, request);
    }
  }

  #queue(pool: IoPool, slot: number, request: Request): void {
    const { op, position, length, dataOffset } = request;
    if (op === OP.write) this.#gather(request, pool.bytes, slot * SLOT_BYTES);
    const isChange = op !== OP.read && op !== OP.flush;
    pool.queue(slot, isChange && this.isStable ? op | STABLE : op, position, length);
    this.#slots[slot] = { request, op, length, dataOffset };
    request.outstanding++;
    request.advance();
  }

  #slotDone(slot: number, result: number): void {
    const { request, op, length, dataOffset } = this.#slots[slot]!;
    this.#slots[slot] = null;
    this.#lastDone = this.#host.now();
    request.outstanding--;
    if (request.abandoned) {
      this.#orphans--;
    } else {
      if (result === 0 && op === OP.read) {
        request.chain!.scatter(dataOffset, this.#pool!.bytes, slot * SLOT_BYTES, length);
      }
      this.#done(request, op, result);
      if (request.outstanding === 0 && !request.hasMore) this.#finish(request);
    }
    this.#submit();
  }

  /** An operation of a request is done. */
  #done(request: Request, op: number, result: number): void {
    if (op === OP.flush) {
      if (result < 0) this.#hasLost = true;
      else if (this.#hasLost) result = EIO;
    }
    if (result === 0) return;
    request.fail();
    const { message } = new OsError(`${operationName(op)} ${this.disk.name}`, -result);
    this.#host.report({ kind: "error", text: message });
  }

  #finish(request: Request): void {
    const { chain, queue, status } = request;
    if (chain === null) return;
    this.answer(queue, chain, status, status === S_OK ? chain.writableBytes - STATUS_SIZE : 0);
  }

  // ---- the queues' life ----

  /** Wakes threads for what was begun. @throws {Error} when there are none */
  announce(now: number): void {
    this.#pool?.announce(now);
  }

  /** When something is due next, in nanoseconds. */
  deadline(): number {
    const hasStarted = this.#pool?.hasStarted ?? true;
    const drains = this.#draining.values().map((since) => this.#drainDeadline(since));
    return Math.min(hasStarted ? Infinity : this.#host.now() + CHECK_NS, ...drains);
  }

  #drainDeadline(since: number): number {
    return Math.max(since, this.#lastDone) + DRAIN_NS;
  }

  #requestsOf(queue: number): Set<Request> {
    const running = this.#slots.flatMap((slot) => slot === null ? [] : [slot.request]);
    const all = [...running, ...this.#waiting];
    return new Set(all.filter((one) => one.queue === queue && !one.abandoned));
  }

  /** A queue is to stop. @returns whether all its requests are answered; those that take too long have failed */
  drain(queue: number): boolean {
    const requests = this.#requestsOf(queue);
    const now = this.#host.now();
    const since = this.#draining.get(queue) ?? now;
    this.#draining.set(queue, since);
    if (requests.size > 0 && now < this.#drainDeadline(since)) return false;
    this.#draining.delete(queue);
    if (requests.size === 0) return true;
    this.#host.report({
      kind: "error",
      text: `Cannot finish ${requests.size} requests of queue ${queue} on ${this.disk.name}: ` +
        `none was done within ${DRAIN_NS / 1e9} s`,
    });
    for (const { chain } of requests) this.answer(queue, chain!, S_IOERR);
    this.abandon(queue);
    return true;
  }

  /** A queue is abandoned: its requests are not answered. */
  abandon(queue: number): void {
    this.#draining.delete(queue);
    for (const request of this.#requestsOf(queue)) {
      request.abandoned = true;
      this.#orphans += request.outstanding;
    }
    this.#waiting = this.#waiting.filter((one) => one.queue !== queue);
  }

  /** The driver's life has ended. */
  reset(): void {
    this.#hasLost = false;
  }

  /** Ends the threads, and closes the disk. */
  close(): void {
    const hasEnded = this.#pool?.close() ?? true;
    if (hasEnded) this.disk.fd.close();
    else this.disk.fd.release(); // a thread that still waits for the medium would write to a reused descriptor
  }
}
