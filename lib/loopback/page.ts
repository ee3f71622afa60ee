// SPDX-License-Identifier: Apache-2.0
/**
 * The page through which a register access travels, with its two ends: the side that asks (a kernel driver, or the
 * software device's guest) and the side that answers (viola).
 *
 * Little-endian: u64 register offset, u64 data, u64 size in bytes, u8 read, 3 bytes of padding, i32 done. The software
 * device keeps its START_LOOPBACK word in the same page, where the AGL driver has nothing: i32 started, i32 padding,
 * then u64 magic, version, device_id, vendor.
 *
 * @module
 */

/** Byte offsets of the page's fields. */
export const PAGE_LAYOUT = {
  notification: 0,
  data: 8,
  size: 16,
  read: 24,
  done: 28,
  started: 64,
  identity: 72,
} as const;

/** Bytes of the part that the AGL driver knows (`sizeof` its structure). */
export const PAGE_BYTES = 32;

/** The argument of START_LOOPBACK: the values of the identity registers. */
export interface Identity {
  /** 0x74726976 */
  magic: number;
  /** virtio-mmio register layout, 1 or 2 */
  version: number;
  /** virtio device class */
  deviceId: number;
  /** "AGL!" and the like */
  vendor: number;
}

/** The fields' places in views of their sizes. */
const WORD = {
  notification: PAGE_LAYOUT.notification / 4,
  data: PAGE_LAYOUT.data / 4,
  size: PAGE_LAYOUT.size / 4,
  done: PAGE_LAYOUT.done / 4,
  started: PAGE_LAYOUT.started / 4,
  identity: PAGE_LAYOUT.identity / 4,
} as const;

/** A view of the page. It holds one access at a time, whose fields stay until the next one. */
export class SharedPage {
  readonly #words: Uint32Array;
  readonly #signed: Int32Array;
  readonly #bytes: Uint8Array;

  /** @param buffer The mapped page */
  constructor(buffer: ArrayBuffer) {
    this.#words = new Uint32Array(buffer);
    this.#signed = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
  }

  /** The register's offset. */
  get offset(): number {
    return this.#words[WORD.notification]!;
  }

  /** Bytes to read or write: 1, 2 or 4 in a valid access, any value in a malformed one. */
  get size(): number {
    return this.#words[WORD.size]!;
  }

  /** Whether it is a read. */
  get isRead(): boolean {
    return this.#bytes[PAGE_LAYOUT.read] === 1;
  }

  /** The value written, or the answer to a read. */
  get data(): number {
    return this.#words[WORD.data]!;
  }

  /**
   * Whether an access waits for its answer. Acquire, paired with the release in {@linkcode ask}: afterwards the fields
   * above are those of that access.
   */
  get pending(): boolean {
    return Atomics.load(this.#signed, WORD.done) === 0;
  }

  /** Writes the answer to a read. The other side reads it after the wake-up that follows. */
  answer(value: number): void {
    this.#set(WORD.data, value);
  }

  /** Sets `done` where the kernel does not do so. Release, so that the answer is visible with it. */
  finish(): void {
    Atomics.store(this.#signed, WORD.done, 1);
  }

  /** The asking side: puts an access in the page, then releases it to the other side by `done` 0. */
  ask(offset: number, size: number, read: boolean, value: number): void {
    this.#set(WORD.notification, offset);
    this.#set(WORD.data, value);
    this.#set(WORD.size, size);
    this.#bytes[PAGE_LAYOUT.read] = read ? 1 : 0;
    Atomics.store(this.#signed, WORD.done, 0);
  }

  /** Writes a u64 whose upper half is 0. */
  #set(word: number, value: number): void {
    this.#words[word] = value;
    this.#words[word + 1] = 0;
  }

  /** The software device's START_LOOPBACK. */
  start(identity: Identity): void {
    const at = WORD.identity;
    this.#words.set([identity.magic, 0, identity.version, 0], at);
    this.#words.set([identity.deviceId, 0, identity.vendor, 0], at + 4);
    Atomics.store(this.#signed, WORD.started, 1);
  }

  /** What {@linkcode start} announced, null before it. */
  get identity(): Identity | null {
    if (Atomics.load(this.#signed, WORD.started) === 0) return null;
    const at = WORD.identity;
    const [magic, version, deviceId, vendor] = [0, 2, 4, 6].map((i) => this.#words[at + i]!);
    return { magic: magic!, version: version!, deviceId: deviceId!, vendor: vendor! };
  }
}
