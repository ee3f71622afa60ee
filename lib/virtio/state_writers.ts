// SPDX-License-Identifier: Apache-2.0
/**
 * A device's state as each isolate may write it. Each word has one writer: the classes of the others have no method
 * that writes it. Words that two isolates write change by single atomic operations: interrupt bits are set by one and cleared
 * by the other, and both count the mappings of the node that they make.
 *
 * | class | isolate | writes |
 * | --- | --- | --- |
 * | {@linkcode AccessState} | serves accesses | status, features, selectors, set-up of queues, what the driver writes to the config space |
 * | {@linkcode RingState} | touches the rings, raises interrupts | progress of queues, replay state, interrupt bits |
 * | {@linkcode MainState} | converses with the back-end | a new state, config space, whether the device was announced |
 *
 * @module
 */
import {
  ACCESS_COUNTERS,
  AccessQueue,
  DeviceState,
  type DeviceStateOptions,
  FEATURE_WORDS,
  MAIN_COUNTERS,
  QueueState,
  replayArea,
  RING_COUNTERS,
  RingQueue,
  type ValueOf,
  WORD,
  writeNewState,
} from "./state.ts";

/** For the isolate that serves accesses. */
export class AccessState extends DeviceState<AccessQueue> {
  constructor(buffer: ArrayBuffer) {
    super(buffer, AccessQueue);
  }

  /** Sets status bits; only a {@linkcode reset} clears them. */
  orStatus(bits: number): void {
    Atomics.or(this.registers, WORD.status, bits);
  }

  /** Clears those bits and no others, which another isolate may be raising. */
  acknowledgeInterrupt(bits: number): void {
    Atomics.and(this.registers, WORD.interruptStatus, ~bits);
  }

  /** Writes the word of driver features that {@linkcode driverFeaturesSel} selects. */
  writeDriverFeatures(value: number): void {
    const word = this.driverFeaturesSel;
    if (word < FEATURE_WORDS) this.registers[WORD.driverFeatures + word] = value;
    else this.registers[WORD.driverFeatures + FEATURE_WORDS]! |= value;
  }

  /** Selects a word of the offered features. */
  selectDeviceFeatures(word: number): void {
    this.registers[WORD.deviceFeaturesSel] = word;
  }

  /** Selects a word of the driver's features. */
  selectDriverFeatures(word: number): void {
    this.registers[WORD.driverFeaturesSel] = word;
  }

  /** Selects a queue, which need not exist. */
  selectQueue(index: number): void {
    this.registers[WORD.queueSel] = index;
  }

  /** Sets the size of the driver's pages, in bytes. */
  setGuestPageSize(bytes: number): void {
    this.registers[WORD.guestPageSize] = bytes;
  }

  /** Counts a queue that was set up. */
  countQueueSetup(): void {
    this.registers[WORD.queueSetups]!++;
  }

  /** Writes to the config space for the driver, little-endian. The access must lie within it. */
  writeConfig(offset: number, size: number, value: number): void {
    const bytes = this.configs[this.configGeneration & 1]!;
    for (let i = 0; i < size; i++) bytes[offset + i] = value >>> (8 * i);
  }

  /** Counts. */
  count(counter: ValueOf<typeof ACCESS_COUNTERS>): void {
    this.counts[counter]!++;
  }

  /**
   * Resets the device (virtio 1.2, §2.4): every register but the page size, which Linux writes once, before its first
   * reset. Config space, counters and replay state stay; the progress of the queues is stale from now on.
   */
  reset(): void {
    const r = this.registers;
    for (const queue of this.queues) queue.reset();
    r.fill(0, WORD.driverFeatures, WORD.guestPageSize);
    Atomics.store(r, WORD.interruptStatus, 0);
    Atomics.store(r, WORD.status, 0);
    Atomics.add(r, WORD.epoch, 1);
    this.count(ACCESS_COUNTERS.resets);
  }
}

/** For the isolate that touches the rings. */
export class RingState extends DeviceState<RingQueue> {
  /** The class's replay state, in the class's own format; zero at first. */
  readonly replay: Uint8Array<ArrayBuffer>;

  constructor(buffer: ArrayBuffer) {
    super(buffer, RingQueue);
    this.replay = replayArea(buffer);
  }

  /** Sets interrupt status bits. Call it before the interrupt, whose handler reads them. */
  raiseInterruptStatus(bits: number): void {
    Atomics.or(this.registers, WORD.interruptStatus, bits);
  }

  /** Counts mappings of the loopback node. */
  countMappings(by: number): void {
    Atomics.add(this.registers, WORD.mappings, by);
  }

  /** Counts. */
  count(counter: ValueOf<typeof RING_COUNTERS>): void {
    this.counts[counter]!++;
  }
}

/** For the main isolate. */
export class MainState extends DeviceState {
  readonly #replay: Uint8Array<ArrayBuffer>;

  constructor(buffer: ArrayBuffer) {
    super(buffer, QueueState);
    this.#replay = replayArea(buffer);
  }

  /** A copy of the replay state; consistent only while the ring isolate serves no rings. */
  copyReplay(): Uint8Array<ArrayBuffer> {
    return this.#replay.slice();
  }

  /**
   * Writes the state of a new device over whatever the memory held.
   *
   * @param buffer At least {@linkcode sizeFor} bytes
   * @throws {RangeError} naming what is out of range
   */
  static create(buffer: ArrayBuffer, options: DeviceStateOptions): MainState {
    writeNewState(buffer, options);
    return new MainState(buffer);
  }

  /**
   * Replaces the config space. Another isolate serves accesses meanwhile, so the bytes go to the unused copy, then the
   * generation changes. A driver that reads the same generation before and after its reads has read one version.
   *
   * @throws {RangeError} unless it has {@linkcode configSize} bytes
   */
  publishConfig(bytes: Uint8Array): void {
    if (bytes.length !== this.configSize) {
      throw new RangeError(
        `Cannot publish the config space: ${bytes.length} bytes, expected ${this.configSize}`,
      );
    }
    this.configs[(this.configGeneration + 1) & 1]!.set(bytes);
    Atomics.add(this.registers, WORD.configGeneration, 1); // release: the bytes come first
  }

  /** Sets the features offered to the driver's next probe; those already accepted stay. */
  offerFeatures(features: bigint): void {
    const at = WORD.deviceFeatures;
    Atomics.store(this.registers, at, Number(features & 0xffffffffn));
    Atomics.store(this.registers, at + 1, Number(features >> 32n));
  }

  /** Notes that the device was announced to the kernel. */
  setStarted(): void {
    this.registers[WORD.started] = 1;
  }

  /** Counts mappings of the loopback node. */
  countMappings(by: number): void {
    Atomics.add(this.registers, WORD.mappings, by);
  }

  /** Counts. */
  count(counter: ValueOf<typeof MAIN_COUNTERS>, by = 1): void {
    this.counts[counter]! += by;
  }
}
