// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's side of a software loopback device: register accesses and interrupts, each a blocking call.
 *
 * @module
 */
import {
  Epoll,
  EPOLLET,
  EPOLLIN,
  Fd,
  Mapping,
  pageSize,
  PeerSignal,
  viewMemory,
} from "../../ffi/mod.ts";
import { GuestMemory } from "../virtio/memory.ts";
import { type Identity, SharedPage } from "./page.ts";
import type { SoftWires } from "./soft.ts";

const ANSWER = 1;
const INTERRUPT = 2;

/** The driver's view of a soft device: registers, interrupts, memory. Every call blocks its thread. */
export class SoftGuestPort implements Disposable {
  #epoll = Epoll.create();
  #interrupts = Epoll.create();
  #signal = PeerSignal.create();
  #pageMapping: Mapping;
  #memoryMapping: Mapping;
  #page: SharedPage;
  readonly memory: GuestMemory;
  readonly guestBase: number;
  readonly memorySize: number;

  /**
   * @param wires The node's, in this process
   * @param deadlineMs How long an access may take in milliseconds
   * @throws {OsError}
   */
  constructor(readonly wires: SoftWires, readonly deadlineMs: number = 5000) {
    this.#pageMapping = mapNumber(wires.page, pageSize());
    this.#memoryMapping = mapNumber(wires.memory, wires.memorySize);
    this.#page = new SharedPage(viewMemory(this.#pageMapping));
    this.guestBase = wires.guestBase;
    this.memorySize = wires.memorySize;
    const buffer = viewMemory(this.#memoryMapping);
    this.memory = new GuestMemory([{ guest: wires.guestBase, buffer }]);
    // Edge-triggered: each signal is reported once, and the eventfd, which the adapter may make a blocking one, is never read.
    this.#epoll.add(wires.answer, EPOLLIN | EPOLLET, ANSWER);
    this.#interrupts.add(wires.interrupt, EPOLLIN | EPOLLET, INTERRUPT);
  }

  /**
   * Reads a register.
   *
   * @throws {Error} when there is no answer within the deadline
   */
  read(offset: number, size: number): number {
    this.#access(offset, size, true, 0);
    return this.#page.data;
  }

  /** Writes a register. @throws {Error} when there is no answer within the deadline */
  write(offset: number, size: number, value: number): void {
    this.#access(offset, size, false, value);
  }

  /** Starts a register write without waiting; it is answered when {@linkcode pending} is false. */
  beginWrite(offset: number, size: number, value: number): void {
    this.#ask(offset, size, false, value);
  }

  /** Whether an access is not answered yet. */
  get pending(): boolean {
    return this.#page.pending;
  }

  #ask(offset: number, size: number, read: boolean, value: number): void {
    this.#page.ask(offset, size, read, value);
    this.#signal.signal(this.wires.doorbell);
  }

  #access(offset: number, size: number, read: boolean, value: number): void {
    this.#ask(offset, size, read, value);
    const deadline = performance.now() + this.deadlineMs;
    while (this.pending) {
      const left = deadline - performance.now();
      if (left <= 0) {
        const what = `${read ? "read" : "write"} register 0x${offset.toString(16)}`;
        throw new Error(
          `Cannot ${what} of the soft loopback device: no answer within ${this.deadlineMs} ms`,
        );
      }
      this.#epoll.wait(Math.ceil(left));
    }
  }

  /** Waits for START_LOOPBACK. @returns what it announced, null after the time-out */
  waitStarted(timeoutMs: number): Identity | null {
    const deadline = performance.now() + timeoutMs;
    while (this.#page.identity === null) {
      const left = deadline - performance.now();
      if (left <= 0) return null;
      this.waitInterrupt(Math.ceil(left));
    }
    return this.#page.identity;
  }

  /** Waits for an interrupt. @returns whether one came */
  waitInterrupt(timeoutMs: number): boolean {
    return this.#interrupts.wait(timeoutMs) > 0;
  }

  /** Unmaps everything; the node stays. */
  close(): void {
    this.#epoll.close();
    this.#interrupts.close();
    this.#signal.close();
    this.#pageMapping.close();
    this.#memoryMapping.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Maps the start of a file by the number of its descriptor, which the caller owns. @throws {OsError} */
export function mapNumber(number: number, length: number): Mapping {
  const fd = new Fd(number);
  try {
    return Mapping.create(fd, length);
  } finally {
    fd.release();
  }
}
