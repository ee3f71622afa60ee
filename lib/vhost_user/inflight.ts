// SPDX-License-Identifier: Apache-2.0
/**
 * The memory in which a back-end notes which chains it has in flight, so that the next one can resubmit exactly those:
 * vhost-user, "Inflight I/O tracking", the layout for split rings. Little-endian; one block per queue, each aligned to 64.
 *
 * | bytes | what |
 * | --- | --- |
 * | 0 | u64 features, 0 |
 * | 8 | u16 version: 1, or 0 for a block that was not used yet |
 * | 10 | u16 entries that follow |
 * | 12 | u16 head of the last chain of the last batch that was given back |
 * | 14 | u16 the used index after that batch |
 * | 16 | entries of 16 bytes, by head: u8 1 in flight, 5 bytes unused, u16 the head given back before it, u64 counter |
 *
 * A back-end that dies between publishing a used index and clearing the flags leaves a used index that differs from the
 * ring's; the heads of that batch are found by the links.
 *
 * @module
 */
import type { InflightLog } from "../virtio/device_ring.ts";
import { VhostUserError } from "./errors.ts";

const ALIGNMENT = 64;
const HEADER_BYTES = 16;
const ENTRY_BYTES = 16;
const VERSION_AT = 8;
const COUNT_AT = 10;
const LAST_HEAD_AT = 12;
const USED_IDX_AT = 14;
const NEXT_AT = 6;
const COUNTER_AT = 8;
const VERSION = 1;

/** Bytes of a queue's block. */
export function inflightBlockBytes(queueSize: number): number {
  return Math.ceil((HEADER_BYTES + ENTRY_BYTES * queueSize) / ALIGNMENT) * ALIGNMENT;
}

/** What GET_INFLIGHT_FD asks for: blocks for `queues` queues of `queueSize` entries. */
export interface InflightShape {
  readonly queues: number;
  readonly queueSize: number;
}

/** Bytes of all blocks. */
export function inflightBytes({ queues, queueSize }: InflightShape): number {
  return queues * inflightBlockBytes(queueSize);
}

/** A queue's block, as the back-end that serves the queue uses it. */
export class InflightQueue implements InflightLog {
  /** Heads of the chains that the last back-end had in flight, in the order in which it took them. */
  readonly heads: readonly number[];
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  readonly #u16: Uint16Array<ArrayBuffer>;
  #counter = 0;
  #taken = 0;

  /**
   * Opens a block: clears the flags of chains that were given back, and finds those in flight.
   *
   * @param block {@linkcode inflightBlockBytes} bytes, aligned to 8; a block of zeros is initialised
   * @param queueSize Entries of the block
   * @param ringSize Entries of the ring, at most `queueSize`
   * @param usedIdx The ring's used index
   * @param what The queue, for errors
   * @throws {VhostUserError} when the block is malformed
   */
  constructor(
    block: Uint8Array<ArrayBuffer>,
    queueSize: number,
    ringSize: number,
    usedIdx: number,
    what: string,
  ) {
    this.#bytes = block;
    this.#view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    this.#u16 = new Uint16Array(block.buffer, block.byteOffset, block.byteLength / 2);
    const version = this.#view.getUint16(VERSION_AT, true);
    if (version === 0) this.#initialise(queueSize);
    else this.#check(version, queueSize, what);
    this.#finishBatch(version === 0 ? usedIdx : this.#u16[USED_IDX_AT / 2]!, usedIdx, what);
    this.heads = this.#findHeads(ringSize, what);
  }

  #initialise(queueSize: number): void {
    this.#view.setUint16(COUNT_AT, queueSize, true);
    this.#view.setUint16(VERSION_AT, VERSION, true);
  }

  #check(version: number, queueSize: number, what: string): void {
    if (version !== VERSION) throw malformed(what, `its version is ${version}`, `${VERSION}`);
    const count = this.#view.getUint16(COUNT_AT, true);
    if (count !== queueSize) throw malformed(what, `it has ${count} entries`, `${queueSize}`);
  }

  /** Clears the flags of a batch that was published, but not noted as finished. */
  #finishBatch(finished: number, usedIdx: number, what: string): void {
    const count = this.#view.getUint16(COUNT_AT, true);
    const batch = (usedIdx - finished) & 0xffff;
    if (batch > count) {
      const text = `its used index is ${finished}, the ring's ${usedIdx}`;
      throw malformed(what, text, `a difference of at most ${count}`);
    }
    let head = this.#view.getUint16(LAST_HEAD_AT, true);
    for (let i = 0; i < batch; i++) {
      if (head >= count) throw malformed(what, `head ${head} was given back`, `one below ${count}`);
      this.#bytes[entryAt(head)] = 0;
      head = this.#view.getUint16(entryAt(head) + NEXT_AT, true);
    }
    Atomics.store(this.#u16, USED_IDX_AT / 2, usedIdx);
  }

  #findHeads(ringSize: number, what: string): number[] {
    const count = this.#view.getUint16(COUNT_AT, true);
    const found: { head: number; counter: bigint }[] = [];
    for (let head = 0; head < count; head++) {
      const flag = this.#bytes[entryAt(head)]!;
      if (flag === 0) continue;
      if (flag !== 1) throw malformed(what, `head ${head} has flag ${flag}`, "0 or 1");
      if (head >= ringSize) throw malformed(what, `head ${head} is in flight`, `below ${ringSize}`);
      found.push({ head, counter: this.#view.getBigUint64(entryAt(head) + COUNTER_AT, true) });
    }
    found.sort((a, b) => a.counter < b.counter ? -1 : a.counter > b.counter ? 1 : 0);
    const last = found.at(-1)?.counter ?? -1n;
    if (last >= BigInt(Number.MAX_SAFE_INTEGER)) {
      throw malformed(what, `a counter is ${last}`, "below 2^53");
    }
    this.#counter = Number(last) + 1;
    return found.map(({ head }) => head);
  }

  next(): number {
    return this.#taken < this.heads.length ? this.heads[this.#taken++]! : -1;
  }

  taken(head: number): void {
    const at = entryAt(head);
    const counter = this.#counter++;
    this.#view.setUint32(at + COUNTER_AT, counter >>> 0, true);
    this.#view.setUint32(at + COUNTER_AT + 4, Math.floor(counter / 2 ** 32), true);
    Atomics.store(this.#bytes, at, 1); // Release: the counter is there before the flag.
  }

  /** Plain stores: the ring's own store of the used index, which follows, is a release. */
  completing(head: number): void {
    this.#view.setUint16(entryAt(head) + NEXT_AT, this.#u16[LAST_HEAD_AT / 2]!, true);
    this.#view.setUint16(LAST_HEAD_AT, head, true);
  }

  /** Kept behind the ring's store of the used index, and in this order: the flag counts until the index is noted. */
  completed(head: number, usedIdx: number): void {
    Atomics.store(this.#bytes, entryAt(head), 0);
    Atomics.store(this.#u16, USED_IDX_AT / 2, usedIdx);
  }
}

function entryAt(head: number): number {
  return HEADER_BYTES + ENTRY_BYTES * head;
}

function malformed(what: string, found: string, expected: string): VhostUserError {
  return new VhostUserError(
    "protocol",
    `Cannot use the in-flight memory of ${what}: ${found}, expected ${expected}`,
  );
}
