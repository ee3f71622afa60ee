// SPDX-License-Identifier: Apache-2.0
/**
 * The device's side of a split ring: virtio 1.2 §2.7. The driver is not trusted: its data is read once, checked,
 * and only then used.
 *
 * Memory order. The two sides share the ring without a lock, so each index and flag goes through Atomics, which on arm64
 * are load-acquire and store-release, never reordered against each other; ring entries and descriptors are plain.
 * * The driver's `idx` is loaded before the entries and descriptors that it covers: acquire.
 * * Our `idx` is stored after the elements that it covers and after everything the device wrote to the buffers: release.
 * * Suppression needs a store to stay ahead of a load of another word (our `idx` before the driver's `used_event`; our
 *   `avail_event` before the driver's `idx`): that is why both are sequentially consistent.
 *
 * @module
 */
import type { Chain } from "./chain.ts";
import { RingError } from "./error.ts";
import type { GuestMemory } from "./memory.ts";
import {
  AVAIL_RING,
  DESC_SIZE,
  eventPassed,
  FLAGS,
  IDX,
  RingAreas,
  type RingLayout,
  USED_RING,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from "./ring_layout.ts";

/** What was negotiated for a ring, and the device it belongs to. */
export interface RingOptions {
  /** VIRTIO_F_INDIRECT_DESC: chains may lie in tables of their own. */
  readonly indirect: boolean;
  /** VIRTIO_F_EVENT_IDX: suppression by index instead of by flag. */
  readonly eventIdx: boolean;
  /** For errors. */
  readonly deviceName: string;
}

/** Where a device starts in a ring. */
export interface DeviceRingStart {
  /** Index of the available entry to take next, 0 to 65535. */
  readonly nextAvail: number;
  /** Index of the used element to write next; read from the ring when not given. */
  readonly usedIdx?: number;
  /** Heads of the chains that were taken earlier and are not completed yet. */
  readonly inFlight?: Iterable<number>;
  /**
   * Opens the log of chains in flight, with the ring's used index. Instead of at `nextAvail` the ring then starts where the
   * log says: {@linkcode DeviceRing.pop} first returns its heads, then the available entries after them.
   */
  readonly openLog?: ((usedIdx: number) => InflightLog) | undefined;
}

/** A record of the chains in flight that outlives the process. The ring calls it at each step, in this order. */
export interface InflightLog {
  /** Heads of the chains that were in flight when it was opened, in the order in which they were taken. */
  readonly heads: readonly number[];
  /** The next of these heads; −1 after the last. */
  next(): number;
  /** A chain was taken. */
  taken(head: number): void;
  /** A chain is about to be given back: its used element is written, the used index is not. */
  completing(head: number): void;
  /** The used index was published. */
  completed(head: number, usedIdx: number): void;
}

/** The most bytes that a driver may offer in one chain (virtio 1.2 §2.7.4.2). */
const MAX_CHAIN_BYTES = 2 ** 32;

/**
 * A queue as its device sees it. A loop that misses no chain:
 *
 * ```ts ignore
 * do {
 *   ring.disableNotifications();
 *   while (ring.pop(chain)) ring.complete(chain.head, serve(chain));
 *   if (ring.needsInterrupt()) interrupt();
 * } while (ring.enableNotifications());
 * ```
 */
export class DeviceRing {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #options: RingOptions;
  readonly #areas: RingAreas;
  readonly #inFlight: Uint8Array<ArrayBuffer>;
  readonly #log: InflightLog | null;
  #nextAvail: number;
  #usedIdx: number;
  // The driver's idx at its last load; loaded again only when every chain up to it is taken.
  #availIdx: number;
  // Completions since the last needsInterrupt. An earlier process may have published some and ended
  // before it interrupted, so the first call assumes the most there can be.
  #unannounced = 0;
  #earlier = 0x10000;

  /**
   * Writes nothing: notifications stay as they were until {@linkcode enableNotifications}.
   *
   * @throws {RingError} for a layout no queue can have, or a start that does not fit the ring
   */
  constructor(
    memory: GuestMemory,
    layout: RingLayout,
    options: RingOptions,
    start: DeviceRingStart = { nextAvail: 0 },
  ) {
    this.size = layout.size;
    this.#memory = memory;
    this.#options = options;
    this.#areas = new RingAreas(memory, layout, options.deviceName);
    this.#usedIdx = start.usedIdx ?? Atomics.load(this.#areas.used, IDX);
    this.#log = start.openLog?.(this.#usedIdx) ?? null;
    const nextAvail = this.#log === null ? start.nextAvail : this.#usedIdx + this.#log.heads.length;
    this.#nextAvail = this.#availIdx = nextAvail & 0xffff;
    this.#inFlight = new Uint8Array(layout.size);
    if (this.pending > this.size) {
      throw this.#error(
        "set up",
        `it starts at available entry ${this.#nextAvail} and used element ${this.#usedIdx}, ` +
          `expected the former ahead by at most ${this.size}`,
      );
    }
    for (const head of start.inFlight ?? this.#log?.heads ?? []) {
      if (this.#inFlight[head] !== 0) {
        const wanted = `expected each below ${this.size} once`;
        throw this.#error("set up", `head ${head} is in flight, ${wanted}`);
      }
      this.#inFlight[head] = 1;
    }
  }

  /** The queue's index in its device. */
  get index(): number {
    return this.#areas.index;
  }

  /** Index of the available entry to take next, 0 to 65535. */
  get nextAvail(): number {
    return this.#nextAvail;
  }

  /** Index of the used element to write next, 0 to 65535. */
  get usedIdx(): number {
    return this.#usedIdx;
  }

  /** How many chains are taken and not completed. */
  get pending(): number {
    return (this.#nextAvail - this.#usedIdx) & 0xffff;
  }

  /**
   * Takes the next chain.
   *
   * @param chain Filled when there is one
   * @returns whether there was one
   * @throws {RingError} when the driver's ring, the chain or one of its descriptors is malformed
   */
  pop(chain: Chain): boolean {
    const noted = this.#log?.next() ?? -1;
    if (noted >= 0) {
      this.#read(noted, chain);
      return true;
    }
    if (this.#nextAvail === this.#availIdx && !this.#lookForMore()) return false;
    const head = this.#areas.avail[AVAIL_RING + (this.#nextAvail & (this.size - 1))]!;
    if (this.#inFlight[head] !== 0) {
      const wanted = `expected a head below ${this.size} that is not in flight`;
      throw this.#refusal(`available entry ${this.#nextAvail} is ${head}, ${wanted}`);
    }
    this.#read(head, chain);
    this.#inFlight[head] = 1;
    this.#log?.taken(head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    return true;
  }

  /**
   * Reads a chain in flight again. The driver may have rewritten it: it is checked again, and may have other
   * lengths than before.
   *
   * @throws {RingError} when no chain with that head is in flight, or it is malformed
   */
  walk(head: number, chain: Chain): void {
    if (this.#inFlight[head] !== 1) throw this.#error("read a chain of", this.#notInFlight(head));
    this.#read(head, chain);
  }

  /**
   * Gives a chain back to the driver.
   *
   * @param length How many bytes of its writable part were written, from its start
   * @throws {RingError} when no chain with that head is in flight
   */
  complete(head: number, length: number): void {
    if (this.#inFlight[head] !== 1) {
      throw this.#error("complete a chain of", this.#notInFlight(head));
    }
    const { used, usedElements } = this.#areas;
    const element = USED_RING + 2 * (this.#usedIdx & (this.size - 1));
    usedElements[element] = head;
    usedElements[element + 1] = length;
    this.#inFlight[head] = 0;
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    this.#unannounced++;
    this.#log?.completing(head);
    Atomics.store(used, IDX, this.#usedIdx); // Release: the element and the device's data come first.
    this.#log?.completed(head, this.#usedIdx);
  }

  /** Whether the driver wants an interrupt for what was completed since the last call. */
  needsInterrupt(): boolean {
    if (this.#unannounced === 0) return false;
    const count = this.#unannounced + this.#earlier;
    this.#unannounced = this.#earlier = 0;
    const { avail, usedEvent } = this.#areas;
    // Must stay behind the store of idx in complete, or a driver that enables interrupts between the two is never woken.
    if (this.#options.eventIdx) {
      return eventPassed(Atomics.load(avail, usedEvent), this.#usedIdx, count);
    }
    return (Atomics.load(avail, FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  /**
   * Asks the driver to notify for the next chain it offers.
   *
   * @returns whether there are chains already, for which it may send no notification: look again
   * @throws {RingError} when the driver's index is malformed
   */
  enableNotifications(): boolean {
    const { used, availEvent } = this.#areas;
    if (this.#options.eventIdx) Atomics.store(used, availEvent, this.#nextAvail);
    else Atomics.store(used, FLAGS, 0);
    // Must stay behind that store, or a chain that is offered between the two is never seen.
    return this.#lookForMore();
  }

  /** Tells the driver that it need not notify. With event indices it notifies once at most anyway: nothing to do. */
  disableNotifications(): void {
    if (!this.#options.eventIdx) Atomics.store(this.#areas.used, FLAGS, VIRTQ_USED_F_NO_NOTIFY);
  }

  #lookForMore(): boolean {
    const idx = Atomics.load(this.#areas.avail, IDX); // Acquire: what it covers is read after it.
    if (((idx - this.#nextAvail) & 0xffff) > this.size) {
      throw this.#refusal(
        `the available idx is ${idx}, expected at most ${this.size} ahead of ${this.#nextAvail}`,
      );
    }
    this.#availIdx = idx;
    return idx !== this.#nextAvail;
  }

  #read(head: number, chain: Chain): void {
    chain.begin(this.#memory, head);
    this.#readTable(chain, this.#areas.desc, 0, this.size, head);
  }

  // Adds to the chain the segments of a table of `entries` descriptors at byte `start` of a view, from `index` on.
  #readTable(chain: Chain, view: DataView, start: number, entries: number, index: number): void {
    for (let left = entries; left > 0; left--) {
      const at = start + DESC_SIZE * index;
      const address = view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true);
      const length = view.getUint32(at + 8, true);
      const flags = view.getUint16(at + 12, true);
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        this.#checkTable(chain, index, length, flags);
        const [table, at] = this.#tableAt(chain, index, address, length);
        chain.tableIndex = index;
        this.#readTable(chain, table, at, length / DESC_SIZE, 0);
        return;
      }
      this.#addSegment(chain, index, address, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return;
      const next = view.getUint16(at + 14, true);
      if (next >= entries) {
        throw this.#malformed(
          chain,
          index,
          `the next descriptor ${next}, expected below ${entries}`,
        );
      }
      index = next;
    }
    throw this.#malformed(
      chain,
      index,
      `a loop: ${entries} descriptors were followed without an end`,
    );
  }

  #addSegment(
    chain: Chain,
    index: number,
    address: number,
    length: number,
    writable: boolean,
  ): void {
    if (!writable && chain.writableBytes > 0) {
      throw this.#malformed(chain, index, "a readable segment after a writable one");
    }
    if (length === 0) throw this.#malformed(chain, index, "a length of 0, expected at least 1");
    if (chain.readableBytes + chain.writableBytes + length > MAX_CHAIN_BYTES) {
      throw this.#malformed(chain, index, "a length that takes the chain over 2^32 bytes");
    }
    if (this.#memory.find(address, length) !== null) {
      return this.#addPiece(chain, index, address, length, writable);
    }
    // A buffer may lie in several regions that follow each other without a gap: drivers do not know where they end.
    for (let done = 0; done < length;) {
      const piece = Math.min(this.#memory.reach(address + done), length - done);
      if (piece === 0) {
        const range = `${length} bytes at 0x${address.toString(16)}`;
        throw this.#malformed(chain, index, `${range}, expected them inside memory`);
      }
      this.#addPiece(chain, index, address + done, piece, writable);
      done += piece;
    }
  }

  #addPiece(
    chain: Chain,
    index: number,
    address: number,
    length: number,
    writable: boolean,
  ): void {
    if (chain.count === chain.capacity) {
      throw this.#malformed(chain, index, `more segments than ${chain.capacity}`);
    }
    chain.add(index, address, length, writable);
  }

  // An indirect table ends its chain. The WRITE flag of its descriptor is ignored (virtio 1.2 §2.7.5.3.2).
  #checkTable(chain: Chain, index: number, length: number, flags: number): void {
    if (!this.#options.indirect) {
      throw this.#malformed(chain, index, "an indirect table, which was not negotiated");
    }
    if (chain.tableIndex >= 0) {
      throw this.#malformed(chain, index, "an indirect table inside another");
    }
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) {
      throw this.#malformed(
        chain,
        index,
        "an indirect table and a next descriptor, expected only one of them",
      );
    }
    const most = DESC_SIZE * chain.capacity;
    if (length === 0 || length % DESC_SIZE !== 0 || length > most) {
      const wanted = `a multiple of ${DESC_SIZE} up to ${most}`;
      throw this.#malformed(
        chain,
        index,
        `an indirect table of ${length} bytes, expected ${wanted}`,
      );
    }
  }

  /** An indirect table, and its offset in the view; a table that lies in more than one region is copied. */
  #tableAt(chain: Chain, index: number, address: number, length: number): [DataView, number] {
    const region = this.#memory.find(address, length);
    if (region !== null) return [region.view, address - region.guest];
    const copy = this.#memory.copy(address, length);
    if (copy !== null) return [copy, 0];
    const range = `${length} bytes at 0x${address.toString(16)}`;
    throw this.#malformed(chain, index, `an indirect table of ${range}, expected it inside memory`);
  }

  #notInFlight(head: number): string {
    return `its head is ${head}, expected one of the ${this.pending} in flight`;
  }

  #malformed(chain: Chain, index: number, problem: string): RingError {
    const where = chain.tableIndex < 0 ? "" : ` of the indirect table at ${chain.tableIndex}`;
    return this.#refusal(`chain ${chain.head}, descriptor ${index}${where}: ${problem}`);
  }

  #refusal(problem: string): RingError {
    return this.#error("take a chain from", problem);
  }

  #error(action: string, problem: string): RingError {
    return new RingError(this.#options.deviceName, this.index, action, problem);
  }
}
