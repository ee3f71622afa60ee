// SPDX-License-Identifier: Apache-2.0
/**
 * The memory in which back-ends with direct memory note their chains in flight (vhost-user, "Inflight I/O tracking"). It
 * belongs to the device: it survives each back-end and is given to the next, and lies in the descriptor store for the next
 * viola.
 *
 * With isolated memory there is none, since viola itself notes every chain that it passes on, in the device's state. With
 * direct memory viola passes on no chains, and the rings alone do not tell: after the heads 0, 1 and 2 became available and 1
 * was used, the used index is 1, which is also what it would be had 0 been used.
 *
 * | bytes | what |
 * | --- | --- |
 * | 0 | the queues' blocks, given to the back-end, see `lib/vhost_user/inflight.ts` |
 * | last page | u32 magic, epoch that they belong to, queues, entries per queue, bytes of all blocks |
 *
 * The back-end is given the whole file, so what lies in it may be wrong, but is never used for an address: at worst chains of
 * this device are served twice or never, which a back-end that maps the driver's memory can cause anyway.
 *
 * @module
 */
import {
  cannotShrink,
  createMemory,
  type Fd,
  Mapping,
  pageSize,
  readSystemLink,
  viewMemory,
} from "../../ffi/mod.ts";
import type { FrontEnd, InflightShape, InflightSlot } from "../vhost_user/mod.ts";
import { INFLIGHT_MARGIN, inflightBlockBytes, inflightBytes } from "../vhost_user/mod.ts";
import type { ActivationRing } from "./lane_messages.ts";

/** The file's name begins with this; the device's name follows. */
const FILE = "viola-inflight-";
const MAGIC = 0x69666c76; // "vlfi"
const HEADER_WORDS = 5;

/** What an activation's back-end is given. */
export interface InflightOffer {
  /** Null: the back-end does not track its chains. */
  readonly slot: InflightSlot | null;
  /** Whether the memory holds the chains in flight of the driver's current epoch. */
  readonly isResumed: boolean;
}

/** See the module. */
export class InflightMemory implements Disposable {
  readonly #mapping: Mapping;
  readonly #blocks: Uint8Array<ArrayBuffer>;
  readonly #header: Uint32Array<ArrayBuffer>;

  private constructor(readonly fd: Fd, readonly shape: InflightShape) {
    const bytes = fileBytes(shape);
    if (!cannotShrink(fd)) {
      throw new RangeError("its in-flight memory is not sealed against shrinking (F_SEAL_SHRINK)");
    }
    if (fd.size() !== bytes) {
      throw new RangeError(`its in-flight memory has ${fd.size()} bytes, expected ${bytes}`);
    }
    this.#mapping = Mapping.create(fd, bytes);
    const buffer = viewMemory(this.#mapping.range);
    const end = bytes - pageSize();
    this.#blocks = new Uint8Array(buffer, 0, end);
    this.#header = new Uint32Array(buffer, end, HEADER_WORDS);
  }

  /** Creates the memory of a device; its size is sealed. @throws {OsError} */
  static create(name: string, shape: InflightShape): InflightMemory {
    const fd = createMemory(FILE + name, fileBytes(shape));
    try {
      return new InflightMemory(fd, shape);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** Whether a descriptor from the store is such memory. */
  static isOne(fd: Fd): boolean {
    return readSystemLink(`/proc/self/fd/${fd.number}`).startsWith(`/memfd:${FILE}`);
  }

  /** Takes over the memory that a previous process created. @throws {RangeError} when it is another device's */
  static restore(fd: Fd, shape: InflightShape): InflightMemory {
    return new InflightMemory(fd, shape);
  }

  /**
   * Prepares the memory for an activation. What an earlier back-end noted in this epoch stays, but not for shadow rings:
   * each activation has new ones, and viola knows their chains.
   *
   * @throws {VhostUserError} when the back-end needs another layout; the connection is closed
   */
  async offer(
    frontEnd: Pick<FrontEnd, "profile" | "inflightSize">,
    epoch: number,
    rings: readonly ActivationRing[],
  ): Promise<InflightOffer> {
    if (!frontEnd.profile.tracksInflight) {
      this.drop();
      return { slot: null, isResumed: false };
    }
    const { shape, fd: { number: fd } } = this;
    const size = await frontEnd.inflightSize(shape);
    const isResumed = this.#begin(epoch, size);
    const bytes = inflightBlockBytes(shape.queueSize);
    for (const { index, slots } of rings) {
      if (slots !== null) this.#blocks.fill(0, index * bytes, (index + 1) * bytes);
    }
    return { slot: { ...shape, size, fd }, isResumed };
  }

  /** Forgets the noted chains: the back-end that has the rings now notes none, or has refused the notes. */
  drop(): void {
    Atomics.store(this.#header, 0, 0);
  }

  /** Clears the memory, unless it is this epoch's already. @returns whether it was */
  #begin(epoch: number, size: number): boolean {
    const header = this.#header;
    const { queues, queueSize } = this.shape;
    const words = [MAGIC, epoch >>> 0, queues, queueSize, size];
    if (words.every((word, i) => word === header[i])) return true;
    // The magic first and last: a process that dies in between leaves nothing that could be taken for notes.
    Atomics.store(header, 0, 0);
    this.#blocks.fill(0);
    header.set(words.slice(1), 1);
    Atomics.store(header, 0, MAGIC);
    return false;
  }

  /** Unmaps and closes it. */
  close(): void {
    this.#mapping.close();
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Bytes of the file: room for the largest layout that a back-end may ask for, and the header's page. */
function fileBytes(shape: InflightShape): number {
  const page = pageSize();
  return Math.ceil((inflightBytes(shape) + INFLIGHT_MARGIN) / page) * page + page;
}
