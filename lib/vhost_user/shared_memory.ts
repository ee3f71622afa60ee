// SPDX-License-Identifier: Apache-2.0
/**
 * The memory that a front-end shares: its regions are checked, mapped, and found by guest or user address.
 *
 * @module
 */
import { cannotShrink, type Fd, Mapping, pageSize, viewMemory } from "../../ffi/mod.ts";
import { GuestMemory, type MemoryRegion } from "../virtio/memory.ts";
import { VhostUserError } from "./errors.ts";
import type { Region } from "./payloads.ts";

/** A region's range of user addresses, which serve only as keys and may use all 64 bits. */
interface UserRange {
  start: bigint;
  end: bigint;
  guest: number;
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/**
 * Mapped regions. A file that is not sealed (a plain file, hugetlbfs, a char device, some memfds) can be cut short after it
 * was checked. An access then ends the process by SIGBUS, and with it only the device that this front-end uses, as long as
 * each device has a process of its own.
 */
export class SharedMemory implements Disposable {
  readonly memory: GuestMemory;
  readonly #unsealed: readonly number[];
  #mappings: readonly Mapping[];
  #users: readonly UserRange[];

  private constructor(
    memory: GuestMemory,
    mappings: readonly Mapping[],
    users: readonly UserRange[],
    unsealed: readonly number[],
  ) {
    this.memory = memory;
    this.#unsealed = unsealed;
    this.#mappings = mappings;
    this.#users = users;
  }

  /**
   * Maps a memory table.
   *
   * @param fds One for each region; owned by the caller
   * @throws {VhostUserError} naming the invalid region; nothing stays mapped
   */
  static map(regions: readonly Region[], fds: readonly Fd[]): SharedMemory {
    if (regions.length === 0 || fds.length !== regions.length) {
      throw refusal(`${fds.length} descriptors came for ${regions.length} regions`);
    }
    const mappings: Mapping[] = [];
    try {
      const users = regions.map(userRange);
      checkOverlap(users);
      const parts = regions.map((region, i) => mapRegion(region, i, fds[i]!, mappings));
      const unsealed = [...fds.keys()].filter((i) => !cannotShrink(fds[i]!));
      return new SharedMemory(new GuestMemory(parts), mappings, users, unsealed);
    } catch (cause) {
      for (const mapping of mappings) mapping.close();
      if (VhostUserError.is(cause)) throw cause;
      throw refusal((cause as Error).message);
    }
  }

  /** What to say of memory that the front-end can cut short; null when it is sealed. @param name The device's */
  remark(name: string): string | null {
    if (this.#unsealed.length === 0) return null;
    return `Memory region ${this.#unsealed.join(", ")} of the front-end of ${name} is not sealed ` +
      "against shrinking (F_SEAL_SHRINK): if its file is cut short, this process ends (SIGBUS). " +
      "QEMU seals the memory of memory-backend-memfd";
  }

  /**
   * The guest address of a user address.
   *
   * @param what The structure at that address, for the error
   * @throws {VhostUserError} when no region contains it
   */
  guestAddress(user: bigint, what: string): number {
    const range = this.#users.find(({ start, end }) => user >= start && user < end);
    if (range !== undefined) return range.guest + Number(user - range.start);
    const known = this.#users.map(({ start, end }) => `${hex(start)} to ${hex(end)}`).join(", ");
    throw new VhostUserError(
      "protocol",
      `Cannot find ${what} at user address ${hex(user)}: memory is ${known}`,
    );
  }

  /**
   * Unmaps all regions. An access afterwards ends the process by SIGSEGV.
   *
   * @throws {OsError} when a region cannot be unmapped; the others are unmapped
   */
  close(): void {
    using all = new DisposableStack();
    for (const mapping of this.#mappings) all.use(mapping);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function refusal(text: string): VhostUserError {
  return new VhostUserError("protocol", `Cannot map the memory table: ${text}`);
}

function userRange({ user, size, guest }: Region, i: number): UserRange {
  const end = user + size;
  if (size === 0n || end > 1n << 64n || guest + size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw refusal(
      `region ${i} has ${size} bytes at guest ${hex(guest)}, user ${
        hex(user)
      }, expected at least ` +
        `one, and an end below 2^53 and 2^64`,
    );
  }
  return { start: user, end, guest: Number(guest) };
}

function checkOverlap(users: readonly UserRange[]): void {
  const sorted = users.toSorted((a, b) => a.start < b.start ? -1 : 1);
  sorted.forEach(({ start }, i) => {
    const previous = sorted[i - 1];
    if (previous === undefined || start >= previous.end) return;
    throw refusal(
      `a region begins at user ${hex(start)}, inside one that ends at ${hex(previous.end)}`,
    );
  });
}

function mapRegion(region: Region, i: number, fd: Fd, mappings: Mapping[]): MemoryRegion {
  const { size, offset } = region;
  const available = fd.size();
  if (offset % BigInt(pageSize()) !== 0n || offset + size > BigInt(available)) {
    throw refusal(
      `region ${i} is ${size} bytes from ${hex(offset)} of a file of ${available}, expected a ` +
        `beginning at a page and an end inside the file`,
    );
  }
  const mapping = Mapping.createWithin(fd, Number(size), Number(offset));
  mappings.push(mapping);
  return { guest: Number(region.guest), buffer: viewMemory(mapping.range) };
}
