// SPDX-License-Identifier: Apache-2.0
/**
 * A device's state in one block of memory. It is mapped from a file and outlives the process, so that another process
 * can restore the device from it. Little-endian, every number aligned. Words that one isolate writes on a hot path do not
 * share a cache line with another's.
 *
 * Every isolate may read all of it; what each may write is in a class of its own: see `state_writers.ts`.
 *
 * | bytes | what |
 * | --- | --- |
 * | 0 | header, 16 × u32: written once |
 * | 64 | registers, 16 × u32 |
 * | 128 | counters, 24 × f64 |
 * | 320 | config space, twice 256: the low bit of the generation selects the valid one |
 * | 832 | class area, 1088 |
 * | 1920 | the queues, one block each: see `queue_state.ts` |
 *
 * @module
 */
import { isPowerOfTwo, isQueueSize, queueBlockBytes, QueueState } from "./queue_state.ts";
import { MAX_QUEUE_SIZE } from "./ring_layout.ts";

export * from "./queue_state.ts";

/** Device status bits (virtio 1.2, §2.1). */
export const STATUS_ACKNOWLEDGE = 0x01;
export const STATUS_DRIVER = 0x02;
export const STATUS_DRIVER_OK = 0x04;
export const STATUS_FEATURES_OK = 0x08;
export const STATUS_DEVICE_NEEDS_RESET = 0x40;
export const STATUS_FAILED = 0x80;

/** Interrupt status bits (virtio 1.2, §4.2.2): a buffer was used; the config space changed. */
export const INTERRUPT_USED_BUFFER = 0x1;
export const INTERRUPT_CONFIG_CHANGE = 0x2;

/** The most bytes of config space. */
export const CONFIG_SPACE_BYTES = 256;
/** Bytes of the class's replay state. */
export const REPLAY_BYTES = 1088;
/** The most queues of a device. */
export const MAX_QUEUES = 64;

/** Indices in {@linkcode DeviceState.counters} of the counters of the isolate that serves accesses. */
export const ACCESS_COUNTERS = {
  accesses: 0,
  notifications: 1,
  resets: 2,
  badAccesses: 3,
} as const;
/** Indices of the counters of the isolate that touches the rings. */
export const RING_COUNTERS = { interrupts: 8 } as const;
/** Indices of the counters of the main isolate. */
export const MAIN_COUNTERS = { connects: 16, losses: 17, replays: 18 } as const;
/** All of them. */
export const DEVICE_COUNTERS = { ...ACCESS_COUNTERS, ...RING_COUNTERS, ...MAIN_COUNTERS } as const;

/** Counters by name, for a report. */
export function namedCounters<Name extends string>(
  places: Readonly<Record<Name, number>>,
  counters: ArrayLike<number>,
): Record<Name, number> {
  const entries = Object.entries<number>(places).map(([name, place]) => [name, counters[place]]);
  return Object.fromEntries(entries);
}

const MAGIC = 0x6c6f6976; // "viol"
const LAYOUT_VERSION = 2;

// Words of the header.
const MAGIC_WORD = 0;
const LAYOUT_WORD = 1;
const BYTES_WORD = 2;
const QUEUE_COUNT_WORD = 3;
const CAPACITY_WORD = 4;
const DEVICE_ID_WORD = 5;
const MMIO_VERSION_WORD = 6;
const VENDOR_ID_WORD = 7;
const CONFIG_SIZE_WORD = 8;
const NAME_WORD = 9;
const MAX_QUEUE_SETUPS_WORD = 10;
const PROFILE_FEATURES_WORD = 12; // two words

/** Words of the registers. */
export const WORD = {
  status: 0,
  interruptStatus: 1,
  configGeneration: 2,
  epoch: 3,
  /** Two words. */
  deviceFeatures: 4,
  /** Two words, and a third that collects the bits 64 and up that a driver claims. */
  driverFeatures: 6,
  deviceFeaturesSel: 9,
  driverFeaturesSel: 10,
  queueSel: 11,
  guestPageSize: 12,
  mappings: 13,
  started: 14,
  queueSetups: 15,
} as const;
/** Number of words of feature bits. */
export const FEATURE_WORDS = 2;

const REGISTERS_AT = 64;
const COUNTERS_AT = 128;
const COUNTERS_LENGTH = 24;
const CONFIG_AT = 320;
const REPLAY_AT = CONFIG_AT + 2 * CONFIG_SPACE_BYTES;
const QUEUES_AT = REPLAY_AT + REPLAY_BYTES;

type Words = Uint32Array<ArrayBuffer>;

/** Contents of a new state, for {@linkcode MainState.create}. */
export interface DeviceStateOptions {
  /** Name of the device: see {@linkcode DeviceState.isOf}. */
  readonly name: string;
  /** Virtio device id. */
  readonly deviceId: number;
  readonly vendorId: number;
  readonly mmioVersion: 1 | 2;
  /** Largest size of each queue, in virtqueue order; powers of 2. */
  readonly queueSizes: readonly number[];
  /** The features offered to the driver. */
  readonly deviceFeatures: bigint;
  /** See {@linkcode DeviceState.profileFeatures}. */
  readonly profileFeatures?: bigint | undefined;
  /** See {@linkcode DeviceState.maxQueueSetups}; absent: no limit. */
  readonly maxQueueSetups?: number | undefined;
  /** The config space, at most 256 bytes. */
  readonly config: Uint8Array;
}

/** Bytes that may be read only. */
export type ReadonlyBytes = Readonly<Pick<Uint8Array<ArrayBuffer>, number | "length" | "slice">>;

/** The view of a queue's block. */
type QueueView<Queue> = new (
  buffer: ArrayBuffer,
  at: number,
  index: number,
  legacy: boolean,
) => Queue;

/** The state of one device, read-only. Every isolate makes its own views of the same memory. */
export abstract class DeviceState<Queue extends QueueState = QueueState> {
  /** In virtqueue order. */
  readonly queues: readonly Queue[];
  protected readonly header: Words;
  protected readonly registers: Words;
  protected readonly counts: Float64Array<ArrayBuffer>;
  protected readonly configs: readonly Uint8Array<ArrayBuffer>[];

  /** Views of memory that {@linkcode open} has checked, or that holds a new state. */
  protected constructor(buffer: ArrayBuffer, View: QueueView<Queue>) {
    this.header = new Uint32Array(buffer, 0, 16);
    this.registers = new Uint32Array(buffer, REGISTERS_AT, 16);
    this.counts = new Float64Array(buffer, COUNTERS_AT, COUNTERS_LENGTH);
    this.configs = [0, 1].map((i) =>
      new Uint8Array(buffer, CONFIG_AT + i * CONFIG_SPACE_BYTES, this.configSize)
    );
    const block = queueBlockBytes(this.header[CAPACITY_WORD]!);
    this.queues = Array.from(
      { length: this.queueCount },
      (_, i) => new View(buffer, QUEUES_AT + i * block, i, this.mmioVersion === 1),
    );
  }

  /** Bytes of the state of a device with `queueCount` queues of up to `maxQueueSize` descriptors. */
  static sizeFor(queueCount: number, maxQueueSize: number): number {
    return QUEUES_AT + queueCount * queueBlockBytes(maxQueueSize);
  }

  /**
   * Opens the state that another isolate, or an earlier process, has written.
   *
   * @throws {RangeError} when it is malformed, with the value and what was expected
   */
  static open<State extends DeviceState>(
    this: new (buffer: ArrayBuffer) => State,
    buffer: ArrayBuffer,
  ): State {
    const reason = headerFault(buffer);
    if (reason !== null) throw new RangeError(`Cannot open device state: ${reason}`);
    const state = new this(buffer);
    const fault = state.fault();
    if (fault !== null) throw new RangeError(`Cannot open device state: ${fault}`);
    return state;
  }

  /** Why the state is malformed, or null. */
  protected fault(): string | null {
    if (this.status > 0xff) return `status 0x${this.status.toString(16)}, expected one byte`;
    if (this.guestPageSize !== 0 && !isPowerOfTwo(this.guestPageSize)) {
      return `page size ${this.guestPageSize}, expected a power of 2`;
    }
    if (!this.counts.every(isCount)) return "a counter of the device is not a count";
    for (const queue of this.queues) {
      const fault = (queue.ready ? queue.fault() : null) ?? queue.progressFault();
      if (fault !== null) return fault;
      if (!Array.prototype.every.call(queue.counters, isCount)) {
        return `a counter of queue ${queue.index} is not a count`;
      }
    }
    return null;
  }

  /** Whether it was created under this name, by a 32-bit hash. */
  isOf(name: string): boolean {
    return this.header[NAME_WORD] === hashOf(name);
  }

  /** See {@linkcode DEVICE_COUNTERS}. */
  get counters(): ArrayLike<number> {
    return this.counts;
  }

  /** Virtio device id. */
  get deviceId(): number {
    return this.header[DEVICE_ID_WORD]!;
  }

  get vendorId(): number {
    return this.header[VENDOR_ID_WORD]!;
  }

  /** Version of the register layout: 1 (legacy) or 2. */
  get mmioVersion(): number {
    return this.header[MMIO_VERSION_WORD]!;
  }

  get queueCount(): number {
    return this.header[QUEUE_COUNT_WORD]!;
  }

  /** Bytes of config space. */
  get configSize(): number {
    return this.header[CONFIG_SIZE_WORD]!;
  }

  /** Device status. */
  get status(): number {
    return Atomics.load(this.registers, WORD.status);
  }

  get interruptStatus(): number {
    return Atomics.load(this.registers, WORD.interruptStatus);
  }

  /** Changes with every change that the device makes to the config space. */
  get configGeneration(): number {
    return Atomics.load(this.registers, WORD.configGeneration);
  }

  /** The present config space; get it again for each access. The driver's writes go into it. */
  get config(): ReadonlyBytes {
    return this.configs[this.configGeneration & 1]!;
  }

  /** Number of the driver's life, changed by every reset. */
  get epoch(): number {
    return Atomics.load(this.registers, WORD.epoch);
  }

  /** The features the device offers. */
  get deviceFeatures(): bigint {
    return this.#features(WORD.deviceFeatures);
  }

  /** The features the driver wrote; negotiated once the status has FEATURES_OK, or DRIVER_OK for a legacy driver. */
  get driverFeatures(): bigint {
    return this.#features(WORD.driverFeatures);
  }

  /** Whether the driver wrote feature bit `n`, without a BigInt. */
  driverHas(n: number): boolean {
    return ((this.registers[WORD.driverFeatures + (n >>> 5)]! >>> (n & 31)) & 1) === 1;
  }

  /** Whether the driver accepts only features that are offered. */
  get driverFeaturesOffered(): boolean {
    const r = this.registers;
    const claimed = (word: number): number =>
      r[WORD.driverFeatures + word]! & ~r[WORD.deviceFeatures + word]!;
    return claimed(0) === 0 && claimed(1) === 0 && r[WORD.driverFeatures + FEATURE_WORDS] === 0;
  }

  /** The word of offered features that {@linkcode deviceFeaturesSel} selects. */
  get selectedDeviceFeatures(): number {
    const word = this.deviceFeaturesSel;
    return word < FEATURE_WORDS ? this.registers[WORD.deviceFeatures + word]! : 0;
  }

  get deviceFeaturesSel(): number {
    return this.registers[WORD.deviceFeaturesSel]!;
  }

  get driverFeaturesSel(): number {
    return this.registers[WORD.driverFeaturesSel]!;
  }

  /** Whether the device was announced to the kernel, which is done once. */
  get started(): boolean {
    return this.registers[WORD.started] !== 0;
  }

  /** How often the processes that served the device have mapped its loopback node; a reset does not change it. */
  get mappings(): number {
    return this.registers[WORD.mappings]!;
  }

  /**
   * How many queues drivers can set up with version 1 of the registers in the node's life, over all probes; 0: any
   * number. AGL's driver has an array of this size and writes past its end.
   */
  get maxQueueSetups(): number {
    return this.header[MAX_QUEUE_SETUPS_WORD]!;
  }

  /** All features of the back-end that the device was created for; its queues follow from them, whatever later ones offer. */
  get profileFeatures(): bigint {
    const [low, high] = this.header.subarray(PROFILE_FEATURES_WORD);
    return BigInt(low!) | BigInt(high!) << 32n || this.deviceFeatures; // 0: an older build created it
  }

  /** How many queues drivers have set up in the node's life; a reset does not change it. Counted if there is a limit. */
  get queueSetups(): number {
    return this.registers[WORD.queueSetups]!;
  }

  /** The queue that the driver selects; may be {@linkcode queueCount} or more. */
  get queueSel(): number {
    return this.registers[WORD.queueSel]!;
  }

  /** Bytes of the driver's pages, 0 until it writes them; version 1 only. */
  get guestPageSize(): number {
    return this.registers[WORD.guestPageSize]!;
  }

  #features(word: number): bigint {
    return BigInt(this.registers[word + 1]!) << 32n | BigInt(this.registers[word]!);
  }
}

/** The class's replay state, in the memory of a device's state. */
export function replayArea(buffer: ArrayBuffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, REPLAY_AT, REPLAY_BYTES);
}

/** Writes a new state over whatever the memory held. For `MainState.create`. @throws {RangeError} */
export function writeNewState(buffer: ArrayBuffer, options: DeviceStateOptions): void {
  const { queueSizes, config } = options;
  checkOptions(options);
  const capacity = Math.max(...queueSizes);
  const bytes = DeviceState.sizeFor(queueSizes.length, capacity);
  if (buffer.byteLength < bytes) {
    throw new RangeError(
      `Cannot create device state: ${buffer.byteLength} bytes of memory, expected ${bytes}`,
    );
  }
  new Uint8Array(buffer).fill(0);
  const header = new Uint32Array(buffer, 0, 16);
  header[LAYOUT_WORD] = LAYOUT_VERSION;
  header[BYTES_WORD] = bytes;
  header[QUEUE_COUNT_WORD] = queueSizes.length;
  header[CAPACITY_WORD] = capacity;
  header[DEVICE_ID_WORD] = options.deviceId;
  header[MMIO_VERSION_WORD] = options.mmioVersion;
  header[VENDOR_ID_WORD] = options.vendorId;
  header[CONFIG_SIZE_WORD] = config.length;
  header[NAME_WORD] = hashOf(options.name);
  header[MAX_QUEUE_SETUPS_WORD] = options.maxQueueSetups ?? 0;
  new BigUint64Array(buffer, 4 * PROFILE_FEATURES_WORD, 1)[0] = options.profileFeatures ?? 0n;
  const features = new BigUint64Array(buffer, REGISTERS_AT + 4 * WORD.deviceFeatures, 1);
  features[0] = options.deviceFeatures;
  new Uint8Array(buffer, CONFIG_AT).set(config);
  const block = queueBlockBytes(capacity);
  queueSizes.forEach((size, i) => QueueState.create(buffer, QUEUES_AT + i * block, size));
  Atomics.store(header, MAGIC_WORD, MAGIC); // last: without it the state is not opened
}

function checkOptions({ queueSizes, deviceFeatures, config }: DeviceStateOptions): void {
  const refuse = (text: string): never => {
    throw new RangeError(`Cannot create device state: ${text}`);
  };
  const { length } = queueSizes;
  if (length < 1 || length > MAX_QUEUES) {
    refuse(`${length} queues, expected 1 to ${MAX_QUEUES}`);
  }
  const wrong = queueSizes.find((size) => !isQueueSize(size));
  if (wrong !== undefined) {
    refuse(`queue size ${wrong}, expected a power of 2 of at most ${MAX_QUEUE_SIZE}`);
  }
  if (BigInt.asUintN(64, deviceFeatures) !== deviceFeatures) {
    refuse(`features 0x${deviceFeatures.toString(16)}, expected 64 bits`);
  }
  if (config.length > CONFIG_SPACE_BYTES) {
    refuse(`${config.length} bytes of config space, expected at most ${CONFIG_SPACE_BYTES}`);
  }
}

/** The form of a name in the header: its 32-bit FNV-1a hash. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function isCount(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

/** Why the header is malformed, or null. If it is null, views of the whole state can be made. */
function headerFault(buffer: ArrayBuffer): string | null {
  const have = buffer.byteLength;
  if (have < QUEUES_AT) return `${have} bytes of memory, expected more than ${QUEUES_AT}`;
  const header = new Uint32Array(buffer, 0, 16);
  const word = (i: number): number => header[i]!;
  const [magic, layout, version] = [word(MAGIC_WORD), word(LAYOUT_WORD), word(MMIO_VERSION_WORD)];
  if (magic !== MAGIC) return `magic 0x${magic.toString(16)}, expected 0x${MAGIC.toString(16)}`;
  if (layout !== LAYOUT_VERSION) return `layout ${layout}, expected ${LAYOUT_VERSION}`;
  if (version !== 1 && version !== 2) return `virtio-mmio version ${version}, expected 1 or 2`;
  const configSize = word(CONFIG_SIZE_WORD);
  if (configSize > CONFIG_SPACE_BYTES) {
    return `${configSize} bytes of config space, expected at most ${CONFIG_SPACE_BYTES}`;
  }
  return queueTableFault(buffer, word(QUEUE_COUNT_WORD), word(CAPACITY_WORD), word(BYTES_WORD));
}

function queueTableFault(
  buffer: ArrayBuffer,
  count: number,
  capacity: number,
  bytes: number,
): string | null {
  if (count < 1 || count > MAX_QUEUES) return `${count} queues, expected 1 to ${MAX_QUEUES}`;
  if (!isQueueSize(capacity)) return `largest queue size ${capacity}, expected a power of 2`;
  const expected = DeviceState.sizeFor(count, capacity);
  if (bytes !== expected) return `size ${bytes}, expected ${expected}`;
  if (buffer.byteLength < bytes) return `${buffer.byteLength} bytes of memory, expected ${bytes}`;
  for (let i = 0; i < count; i++) {
    const at = QUEUES_AT + i * queueBlockBytes(capacity);
    const numMax = QueueState.numMaxAt(buffer, at);
    if (!isQueueSize(numMax) || numMax > capacity) {
      return `queue ${i} has largest size ${numMax}, expected a power of 2 of at most ${capacity}`;
    }
  }
  return null;
}
