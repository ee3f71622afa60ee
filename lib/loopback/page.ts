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

/** What START_LOOPBACK announces: the first registers, before there are registers. */
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

/** A view of the page. One access is in it at a time; the fields of the last one stay until the next. */
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
    return this.#words[0]!;
  }

  /** Bytes to be read or written: 1, 2 or 4 in a sound access, anything in a bad one. */
  get size(): number {
    return this.#words[4]!;
  }

  /** Whether it is a read. */
  get isRead(): boolean {
    return this.#bytes[24] === 1;
  }

  /** The value written, or the answer to a read. */
  get data(): number {
    return this.#words[2]!;
  }

  /**
   * Whether an access waits for its answer. The acquire that goes with {@linkcode ask}'s release: after it the fields
   * above are those of that access.
   */
  get pending(): boolean {
    return Atomics.load(this.#signed, 7) === 0;
  }

  /** Fills in the answer to a read. The bell that follows is what the other side waits for. */
  answer(value: number): void {
    this.#words[2] = value;
    this.#words[3] = 0;
  }

  /** Says the access is answered, where no kernel does so: release, so that the answer is seen with it. */
  finish(): void {
    Atomics.store(this.#signed, 7, 1);
  }

  /** The asking side: puts an access in the page, then releases it to the other side by `done` 0. */
  ask(offset: number, size: number, read: boolean, value: number): void {
    this.#words[0] = offset;
    this.#words[1] = 0;
    this.#words[2] = value;
    this.#words[3] = 0;
    this.#words[4] = size;
    this.#words[5] = 0;
    this.#bytes[24] = read ? 1 : 0;
    Atomics.store(this.#signed, 7, 0);
  }

  /** The software device's START_LOOPBACK. */
  start(identity: Identity): void {
    const at = PAGE_LAYOUT.identity / 4;
    this.#words.set([identity.magic, 0, identity.version, 0], at);
    this.#words.set([identity.deviceId, 0, identity.vendor, 0], at + 4);
    Atomics.store(this.#signed, PAGE_LAYOUT.started / 4, 1);
  }

  /** What {@linkcode start} announced, null before it. */
  get identity(): Identity | null {
    if (Atomics.load(this.#signed, PAGE_LAYOUT.started / 4) === 0) return null;
    const at = PAGE_LAYOUT.identity / 4;
    const [magic, version, deviceId, vendor] = [0, 2, 4, 6].map((i) => this.#words[at + i]!);
    return { magic: magic!, version: version!, deviceId: deviceId!, vendor: vendor! };
  }
}
