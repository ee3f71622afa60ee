// SPDX-License-Identifier: Apache-2.0
/**
 * The registers of a virtio-mmio device, versions 2 and 1 (virtio 1.2, §4.2.2 and §4.2.4). An
 * access that breaks a rule is ignored, counted and reported once; a malformed queue makes the device need a
 * reset (§2.1.2).
 *
 * @module
 */
import { describeFeatures, type FeatureNames, VIRTIO_F_VERSION_1 } from "./features.ts";
import {
  readQueueNumMax,
  readQueuePfn,
  readQueueReady,
  setUpWord,
  writeGuestPageSize,
  writeQueueNotify,
  writeQueuePfn,
  writeQueueReady,
  writeQueueReset,
} from "./queue_registers.ts";
import { addStatus, hex, RegisterContext, type RegisterEvents } from "./register_context.ts";
import {
  ACCESS_COUNTERS,
  QUEUE_WORDS,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
} from "./state.ts";
import type { AccessState } from "./state_writers.ts";

/** Offset of the status register. */
export const STATUS_OFFSET = 0x070;
/** Offset of the config space. */
export const CONFIG_OFFSET = 0x100;

/** A register. Without `read` it is write-only, without `write` read-only; `only`: the one version that has it. */
interface Register {
  readonly offset: number;
  readonly name: string;
  readonly only?: 1 | 2;
  readonly read?: (m: RegisterContext) => number;
  readonly write?: (m: RegisterContext, value: number) => void;
}

/** Every register, under the name the standard gives it. */
export const REGISTERS: readonly Register[] = [
  { offset: 0x000, name: "MagicValue", read: () => 0x74726976 },
  { offset: 0x004, name: "Version", read: (m) => m.state.mmioVersion },
  { offset: 0x008, name: "DeviceID", read: (m) => m.state.deviceId },
  { offset: 0x00c, name: "VendorID", read: (m) => m.state.vendorId },
  { offset: 0x010, name: "DeviceFeatures", read: (m) => m.state.selectedDeviceFeatures },
  {
    offset: 0x014,
    name: "DeviceFeaturesSel",
    write: (m, value) => m.state.selectDeviceFeatures(value),
  },
  { offset: 0x020, name: "DriverFeatures", write: writeDriverFeatures },
  {
    offset: 0x024,
    name: "DriverFeaturesSel",
    write: (m, value) => m.state.selectDriverFeatures(value),
  },
  { offset: 0x028, name: "GuestPageSize", only: 1, write: writeGuestPageSize },
  { offset: 0x030, name: "QueueSel", write: (m, value) => m.state.selectQueue(value) },
  { offset: 0x034, name: "QueueNumMax", read: readQueueNumMax },
  { offset: 0x038, name: "QueueNum", write: setUpWord(QUEUE_WORDS.num) },
  { offset: 0x03c, name: "QueueAlign", only: 1, write: setUpWord(QUEUE_WORDS.align) },
  { offset: 0x040, name: "QueuePFN", only: 1, read: readQueuePfn, write: writeQueuePfn },
  { offset: 0x044, name: "QueueReady", only: 2, read: readQueueReady, write: writeQueueReady },
  { offset: 0x050, name: "QueueNotify", write: writeQueueNotify },
  { offset: 0x060, name: "InterruptStatus", read: (m) => m.state.interruptStatus },
  { offset: 0x064, name: "InterruptACK", write: (m, bits) => m.state.acknowledgeInterrupt(bits) },
  { offset: STATUS_OFFSET, name: "Status", read: (m) => m.state.status, write: writeStatus },
  { offset: 0x080, name: "QueueDescLow", only: 2, write: setUpWord(QUEUE_WORDS.desc) },
  { offset: 0x084, name: "QueueDescHigh", only: 2, write: setUpWord(QUEUE_WORDS.desc + 1) },
  { offset: 0x090, name: "QueueDriverLow", only: 2, write: setUpWord(QUEUE_WORDS.avail) },
  { offset: 0x094, name: "QueueDriverHigh", only: 2, write: setUpWord(QUEUE_WORDS.avail + 1) },
  { offset: 0x0a0, name: "QueueDeviceLow", only: 2, write: setUpWord(QUEUE_WORDS.used) },
  { offset: 0x0a4, name: "QueueDeviceHigh", only: 2, write: setUpWord(QUEUE_WORDS.used + 1) },
  // A length of all ones says that the selected shared memory region does not exist; there are none. Linux reads it in both
  // versions.
  { offset: 0x0ac, name: "SHMSel", write: () => {} },
  { offset: 0x0b0, name: "SHMLenLow", read: () => 0xffffffff },
  { offset: 0x0b4, name: "SHMLenHigh", read: () => 0xffffffff },
  { offset: 0x0b8, name: "SHMBaseLow", read: () => 0xffffffff },
  { offset: 0x0bc, name: "SHMBaseHigh", read: () => 0xffffffff },
  // Would read 1 during a reset of the queue, but that is over when the write is answered.
  { offset: 0x0c0, name: "QueueReset", only: 2, read: () => 0, write: writeQueueReset },
  { offset: 0x0fc, name: "ConfigGeneration", only: 2, read: (m) => m.state.configGeneration },
];

/** The registers of a version, by offset / 4. */
function registersOf(version: number): (Register | undefined)[] {
  const byOffset = new Array<Register | undefined>(CONFIG_OFFSET / 4).fill(undefined);
  for (const register of REGISTERS) {
    if ((register.only ?? version) === version) byOffset[register.offset / 4] = register;
  }
  return byOffset;
}

/**
 * A device's registers. Served by one isolate, which never waits. Offsets, sizes and values come from the driver: any number
 * is safe. Accesses, notifications, resets and bad accesses are counted here and nowhere else.
 */
export class RegisterFile {
  readonly #machine: RegisterContext;
  readonly #registers: readonly (Register | undefined)[];

  /** @param featureNames The class's own, for reports of bad accesses */
  constructor(state: AccessState, events: RegisterEvents, featureNames: FeatureNames = {}) {
    this.#machine = new RegisterContext(state, events, featureNames);
    this.#registers = registersOf(state.mmioVersion);
  }

  /**
   * Answers a read of `size` bytes.
   *
   * @returns the value, unsigned; 0 where the driver must not read
   */
  read(offset: number, size: number): number {
    const m = this.#machine;
    m.state.count(ACCESS_COUNTERS.accesses);
    if (offset >= CONFIG_OFFSET) return readConfig(m, offset - CONFIG_OFFSET, size);
    const register = this.#find("read", offset, size);
    if (register === undefined) return 0;
    if (register.read !== undefined) return register.read(m);
    m.refuse("write-only", `Cannot read ${where(register)}: it is write-only`);
    return 0;
  }

  /** Handles a write of `size` bytes; ignores it where the driver must not write. */
  write(offset: number, size: number, value: number): void {
    const m = this.#machine;
    m.state.count(ACCESS_COUNTERS.accesses);
    if (offset >= CONFIG_OFFSET) return writeConfig(m, offset - CONFIG_OFFSET, size, value);
    const register = this.#find("write", offset, size);
    if (register === undefined) return;
    if (register.write !== undefined) return register.write(m, value >>> 0);
    m.refuse("read-only", `Cannot write ${hex(value)} to ${where(register)}: it is read-only`);
  }

  #find(action: string, offset: number, size: number): Register | undefined {
    const register = this.#registers[offset / 4];
    if (register !== undefined && size === 4) return register;
    this.#refuseUnknown(action, offset, size);
    return undefined;
  }

  #refuseUnknown(action: string, offset: number, size: number): void {
    const m = this.#machine;
    const access = `Cannot ${action} ${size} bytes at ${hex(offset)}`;
    if (size !== 4 || offset % 4 !== 0) {
      m.refuse("misaligned", `${access}: expected 4 bytes at a multiple of 4`);
    } else {
      m.refuse("unknown", `${access}: virtio-mmio ${m.state.mmioVersion} has no register there`);
    }
  }
}

// ---- Status and features (§2.1, §2.2, §3.1.1) ----

const STATUS_BITS = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FEATURES_OK |
  STATUS_DEVICE_NEEDS_RESET | STATUS_FAILED;

/** For each status bit, the bits that must be set before it or with it. */
const STATUS_ORDER = [
  { bit: STATUS_DRIVER, needs: STATUS_ACKNOWLEDGE },
  { bit: STATUS_FEATURES_OK, needs: STATUS_ACKNOWLEDGE | STATUS_DRIVER },
  { bit: STATUS_DRIVER_OK, needs: STATUS_ACKNOWLEDGE | STATUS_DRIVER },
] as const;

function writeStatus(m: RegisterContext, value: number): void {
  if (value === 0) return resetDevice(m);
  const previous = m.state.status;
  if (isNewProbe(value, previous)) {
    resetDevice(m);
    return m.state.orStatus(STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  }
  const fault = statusFault(value, previous);
  if (fault !== null) {
    return m.refuse("status", `Cannot set status ${hex(value)} on ${hex(previous)}: ${fault}`);
  }
  const added = value & ~previous;
  if (added & STATUS_DRIVER_OK) addStatus(m, acceptDriver(m, added, previous));
  else addStatus(m, acceptFeatures(m, added));
}

/**
 * Whether a driver probes a device on which it set FAILED before. Linux resets such a device neither then nor now, against
 * §2.1.1: it adds DRIVER to the status it reads, including FAILED. The device is reset for it.
 */
function isNewProbe(value: number, previous: number): boolean {
  return (previous & STATUS_FAILED) !== 0 && value === (previous | STATUS_DRIVER);
}

function resetDevice(m: RegisterContext): void {
  m.state.reset();
  m.events.reset();
}

/** Why the driver cannot write this status on top of the previous one, or null. */
function statusFault(value: number, previous: number): string | null {
  if ((value & ~STATUS_BITS) !== 0) return "there is no such bit";
  const added = value & ~previous;
  if (added & STATUS_DEVICE_NEEDS_RESET) return "only the device sets DEVICE_NEEDS_RESET";
  // The device may have set DEVICE_NEEDS_RESET since the driver read the status: the write may lack that bit.
  const cleared = previous & ~value & ~STATUS_DEVICE_NEEDS_RESET;
  if (cleared !== 0) return `only a reset clears ${hex(cleared)}`;
  const early = STATUS_ORDER.find(({ bit, needs }) =>
    (added & bit) !== 0 && (~value & needs) !== 0
  );
  if (early !== undefined) return `expected ${hex(early.needs)} before ${hex(early.bit)}`;
  return null;
}

/** The bits to add, without FEATURES_OK if the features cannot be accepted: the driver reads the status back to see that. */
function acceptFeatures(m: RegisterContext, added: number): number {
  if ((added & STATUS_FEATURES_OK) === 0) return added;
  const fault = (m.state.status & STATUS_DRIVER_OK) !== 0
    ? "the device is running"
    : featuresFault(m);
  if (fault === null) return added;
  m.refuse("features", `Cannot set FEATURES_OK: ${fault}`);
  return added & ~STATUS_FEATURES_OK;
}

/** The bits to add when DRIVER_OK is among them; without it if an earlier step of the driver is missing. */
function acceptDriver(m: RegisterContext, added: number, previous: number): number {
  const others = acceptFeatures(m, added & ~STATUS_DRIVER_OK);
  const fault = driverFault(m, previous);
  if (fault === null) return others | STATUS_DRIVER_OK;
  m.refuse("driver", `Cannot set DRIVER_OK: ${fault}`);
  return others | STATUS_DEVICE_NEEDS_RESET;
}

function driverFault(m: RegisterContext, previous: number): string | null {
  if (previous & STATUS_DEVICE_NEEDS_RESET) return "the device needs a reset";
  if (previous & STATUS_FEATURES_OK) return null;
  const { state } = m;
  // Legacy drivers have no FEATURES_OK (§3.1.2): their features are checked here instead.
  const legacy = state.mmioVersion === 1 && !state.driverHas(VIRTIO_F_VERSION_1);
  return legacy ? featuresFault(m) : "expected FEATURES_OK before";
}

/** Why the driver's features cannot be accepted, or null. */
function featuresFault({ state, featureNames }: RegisterContext): string | null {
  if (!state.driverFeaturesOffered) {
    const { driverFeatures, deviceFeatures } = state;
    const extra = describeFeatures(driverFeatures & ~deviceFeatures, featureNames);
    return `driver accepted ${
      extra === "none" ? "bits beyond 63" : extra
    }, which is not offered; offered: ${describeFeatures(deviceFeatures, featureNames)}`;
  }
  if (state.mmioVersion === 2 && !state.driverHas(VIRTIO_F_VERSION_1)) {
    return "driver has not accepted VIRTIO_F_VERSION_1, which virtio-mmio 2 requires";
  }
  return null;
}

function writeDriverFeatures(m: RegisterContext, value: number): void {
  if ((m.state.status & (STATUS_FEATURES_OK | STATUS_DRIVER_OK)) === 0) {
    return m.state.writeDriverFeatures(value);
  }
  m.refuse(
    "late features",
    `Cannot write DriverFeatures ${hex(value)}: features are negotiated already`,
  );
}

// ---- Config space (§4.2.2.2, §4.2.4) ----

function readConfig(m: RegisterContext, offset: number, size: number): number {
  if (!configAccess(m, "read", offset, size)) return 0;
  const bytes = m.state.config;
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + bytes[offset + i]!;
  return value;
}

function writeConfig(m: RegisterContext, offset: number, size: number, value: number): void {
  if (!configAccess(m, "write", offset, size)) return;
  m.state.writeConfig(offset, size, value);
  m.events.configWritten(offset, size);
}

/** Whether the access is by 1, 2 or 4 bytes, aligned, within the config space. */
function configAccess(m: RegisterContext, action: string, offset: number, size: number): boolean {
  const whole = (size === 1 || size === 2 || size === 4) && offset % size === 0;
  if (whole && offset + size <= m.state.configSize) return true;
  const access = `Cannot ${action} ${size} bytes at ${offset} of the config space`;
  if (whole) m.refuse("config end", `${access}: it has ${m.state.configSize}`);
  else m.refuse("config access", `${access}: expected 1, 2 or 4 at a multiple of that`);
  return false;
}

function where(register: Register): string {
  return `${register.name} (${hex(register.offset)})`;
}
