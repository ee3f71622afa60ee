// SPDX-License-Identifier: Apache-2.0
/**
 * A test of a disk: random reads and writes, many at a time. Each block holds its number and the number of its last write, so
 * that lost and misplaced writes are found.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import type { Progress } from "../../guest/progress.ts";
import type { BlockProgress } from "./driver.ts";
import type { Buffer, Transfers } from "./transfers.ts";
import { SECTOR_SIZE, T_FLUSH, T_IN, T_OUT } from "./wire.ts";

/** Bytes of a block of the test. */
export const HAMMER_BLOCK = 4096;
const BLOCK_SECTORS = HAMMER_BLOCK / SECTOR_SIZE;
/** Of a hundred requests: reads, and flushes; the rest are writes. */
const READS = 40;
const FLUSHES = 3;

/** Options of the test. */
export interface HammerOptions {
  /** Blocks at the beginning of the disk that are used; their contents are lost. */
  readonly blocks: number;
  /** Requests in flight at once. */
  readonly depth: number;
  /** The test ends after so many requests, or by {@linkcode Guest.stop}. */
  readonly requests: number;
  /** The first state of the random numbers. */
  readonly seed: number;
}

/** Its result. */
export interface HammerResult {
  /** By block: the number of the last write that was answered; 0: none. */
  readonly generations: Uint32Array<ArrayBuffer>;
}

/** Fills a block with its number and the number of its write. */
export function fillBlock(data: Uint8Array, block: number, generation: number): void {
  const view = new DataView(data.buffer, data.byteOffset, HAMMER_BLOCK);
  for (let at = 0; at < HAMMER_BLOCK; at += 8) {
    view.setUint32(at, block, true);
    view.setUint32(at + 4, generation, true);
  }
}

/** What is wrong with a block, null if it is as a write left it; a block that was never written has any contents. */
export function faultOf(data: Uint8Array, block: number, generation: number): string | null {
  if (generation === 0) return null;
  const view = new DataView(data.buffer, data.byteOffset, HAMMER_BLOCK);
  for (let at = 0; at < HAMMER_BLOCK; at += 8) {
    const found = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    if (found[0] === block && found[1] === generation) continue;
    return `block ${block} has write ${found[1]} of block ${found[0]} at byte ${at}, ` +
      `expected write ${generation}`;
  }
  return null;
}

/** A run of the test. */
class Hammer {
  readonly #transfers: Transfers;
  readonly #progress: Progress<BlockProgress>;
  readonly #options: HammerOptions;
  readonly #generations: Uint32Array<ArrayBuffer>;
  /** Blocks that a request in flight uses. */
  readonly #busy = new Set<number>();
  readonly #idle: Buffer[];
  readonly #isToEnd: () => boolean;
  #fault: string | null = null;
  #started = 0;
  #state: number;

  constructor(
    transfers: Transfers,
    progress: Progress<BlockProgress>,
    options: HammerOptions,
    isToEnd: () => boolean,
  ) {
    this.#transfers = transfers;
    this.#progress = progress;
    this.#options = options;
    this.#isToEnd = isToEnd;
    this.#generations = new Uint32Array(options.blocks);
    this.#idle = transfers.allocate(options.depth, HAMMER_BLOCK);
    this.#state = options.seed | 1;
  }

  /** xorshift32. */
  #random(below: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % below;
  }

  run(): HammerResult {
    const { depth, requests } = this.#options;
    while (this.#started < requests && this.#fault === null && !this.#isToEnd()) {
      while (this.#idle.length > 0 && this.#started < requests) this.#start(this.#idle.pop()!);
      this.#transfers.await(() => this.#idle.length > 0 || this.#isToEnd());
    }
    this.#transfers.await(() => this.#idle.length === depth);
    this.#readAll();
    this.#transfers.free(this.#idle);
    return { generations: this.#generations };
  }

  #start(buffer: Buffer): void {
    this.#started++;
    const queue = this.#random(this.#transfers.queueCount);
    const kind = this.#random(100);
    if (kind >= 100 - FLUSHES) return this.#offer(buffer, queue, T_FLUSH, 0, 0, () => {});
    let block;
    do block = this.#random(this.#options.blocks); while (this.#busy.has(block));
    this.#busy.add(block);
    if (kind < READS) this.#read(buffer, queue, block);
    else this.#write(buffer, queue, block);
  }

  #read(buffer: Buffer, queue: number, block: number): void {
    const done = (): void => {
      this.#busy.delete(block);
      this.#progress.count("reads");
      this.#fault ??= faultOf(buffer.data, block, this.#generations[block]!);
    };
    this.#offer(buffer, queue, T_IN, block, HAMMER_BLOCK, done);
  }

  #write(buffer: Buffer, queue: number, block: number): void {
    const generation = this.#generations[block]! + 1;
    fillBlock(buffer.data, block, generation);
    const done = (): void => {
      this.#busy.delete(block);
      this.#progress.count("writes");
      this.#generations[block] = generation;
    };
    this.#offer(buffer, queue, T_OUT, block, HAMMER_BLOCK, done);
  }

  #offer(
    buffer: Buffer,
    queue: number,
    type: number,
    block: number,
    length: number,
    onOk: () => void,
  ): void {
    buffer.onDone = () => {
      this.#idle.push(buffer);
      this.#transfers.check(buffer);
      onOk();
    };
    this.#transfers.start(buffer, queue, type, block * BLOCK_SECTORS, length);
  }

  /** Reads every block at the end. @throws {GuestError} EIO when one is not as its last write left it */
  #readAll(): void {
    const [buffer] = this.#idle;
    for (let block = 0; block < this.#options.blocks && this.#fault === null; block++) {
      this.#transfers.run(buffer!, T_IN, block * BLOCK_SECTORS, HAMMER_BLOCK);
      this.#fault = faultOf(buffer!.data, block, this.#generations[block]!);
    }
    if (this.#fault !== null) throw new GuestError("EIO", `verify the disk: ${this.#fault}`);
  }
}

/**
 * Runs the test.
 *
 * @throws {RangeError} when there are too few blocks for the requests in flight
 * @throws {GuestError} EIO for a request that failed and a block that is not as its last write left it; ETIMEDOUT
 */
export function hammer(
  transfers: Transfers,
  progress: Progress<BlockProgress>,
  options: HammerOptions,
  isToEnd: () => boolean,
): HammerResult {
  const { blocks, depth } = options;
  if (blocks < 2 * depth) {
    throw new RangeError(`Cannot use ${blocks} blocks with ${depth} requests, expected twice that`);
  }
  return new Hammer(transfers, progress, options, isToEnd).run();
}
