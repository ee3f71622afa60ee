// SPDX-License-Identifier: Apache-2.0
/**
 * A device's state as each isolate may write it: a word has one writer, and a word of another's is not there to be
 * written. What two isolates write are single atomic operations: interrupt bits are set by the one and cleared by the
 * other, mappings of the node are counted by both who map it.
 *
 * | class | isolate | writes |
 * | --- | --- | --- |
 * | {@linkcode AccessState} | serves accesses | status, features, selectors, set-up of queues, what the driver writes to the config space |
 * | {@linkcode RingState} | touches the rings, raises interrupts | progress of queues, class area, interrupt bits |
 * | {@linkcode MainState} | converses with the back-end | a new state, config space, whether the driver was told of the device |
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

  /** Takes the word of driver features that {@linkcode driverFeaturesSel} selects. */
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

  /** Selects a queue; the driver may name one that there is not. */
  selectQueue(index: number): void {
    this.registers[WORD.queueSel] = index;
  }

  /** Takes the size of the driver's pages, in bytes. */
  setGuestPageSize(bytes: number): void {
    this.registers[WORD.guestPageSize] = bytes;
  }

  /** Counts the set-up of a queue in the node's life. */
  countQueueSetup(): void {
    this.registers[WORD.queueSetups]!++;
  }

  /** Takes what the driver writes to the config space, little-endian. The access must lie within it. */
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
   * reset. Config space, counters and class area stay; the progress of the queues is stale from now on.
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
  /** What a class must tell a new back-end, in a form of its own; zero at first. */
  readonly replay: Uint8Array<ArrayBuffer>;

  constructor(buffer: ArrayBuffer) {
    super(buffer, RingQueue);
    this.replay = replayArea(buffer);
  }

  /** Sets interrupt status bits. To be done before the interrupt, whose handler reads them. */
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

  /** A copy of what the class must tell a new back-end; whole only while the ring isolate serves none. */
  copyReplay(): Uint8Array<ArrayBuffer> {
    return this.#replay.slice();
  }

  /**
   * Begins a new device; what the memory held is gone.
   *
   * @param buffer At least {@linkcode sizeFor} bytes
   * @throws {RangeError} naming what is out of range
   */
  static create(buffer: ArrayBuffer, options: DeviceStateOptions): MainState {
    writeNewState(buffer, options);
    return new MainState(buffer);
  }

  /**
   * Replaces the config space. Another isolate serves accesses meanwhile: the bytes go where nobody reads, then the
   * generation moves. So a driver that finds the generation unmoved around its reads has read one version.
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

  /** What the driver's next probe finds offered; what it has accepted stays. */
  offerFeatures(features: bigint): void {
    const at = WORD.deviceFeatures;
    Atomics.store(this.registers, at, Number(features & 0xffffffffn));
    Atomics.store(this.registers, at + 1, Number(features >> 32n));
  }

  /** Notes that the driver was told of the device. */
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
