// SPDX-License-Identifier: Apache-2.0
// A device's registers with everything they report written down, and a driver that is a list of accesses.
import { assertEquals } from "@std/assert";
import type { QueueClass } from "../../lib/virtio/device_class.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../../lib/virtio/features.ts";
import { RegisterFile } from "../../lib/virtio/registers.ts";
import { DeviceState, type DeviceStateOptions } from "../../lib/virtio/state.ts";
import { AccessState, MainState, RingState } from "../../lib/virtio/state_writers.ts";

/** Queues as a sound card has them. */
export const SOUND_QUEUES: readonly QueueClass[] = [
  { name: "control", kind: "request", size: 64 },
  { name: "event", kind: "event", size: 64 },
  { name: "tx", kind: "stream", size: 64 },
  { name: "rx", kind: "stream", size: 64 },
];

export const VENDOR_ID = 0x4c4f4956;
/** Two jacks, three streams, one channel map, no control: each byte of each its own. */
export const SOUND_CONFIG = Uint8Array.of(
  2,
  0,
  0,
  0,
  3,
  0,
  0,
  0,
  1,
  0,
  0,
  0,
  0x44,
  0x33,
  0x22,
  0x11,
);

/** A device's state as each isolate has it, and the memory it lies in. */
export interface TestState {
  access: AccessState;
  ring: RingState;
  main: MainState;
  memory: ArrayBuffer;
}

/** The state of a sound card with four queues of 64, unless told otherwise. */
export function createState(options: Partial<DeviceStateOptions> = {}): TestState {
  const all: DeviceStateOptions = {
    name: "a",
    deviceId: 25,
    vendorId: VENDOR_ID,
    mmioVersion: 2,
    queueSizes: [64, 64, 64, 64],
    deviceFeatures: bit(VIRTIO_F_VERSION_1) | 0x30000000n,
    config: SOUND_CONFIG,
    ...options,
  };
  const bytes = DeviceState.sizeFor(all.queueSizes.length, Math.max(...all.queueSizes));
  const memory = new ArrayBuffer(bytes);
  const main = MainState.create(memory, all);
  return { access: AccessState.open(memory), ring: RingState.open(memory), main, memory };
}

export class Driver {
  readonly state: AccessState;
  readonly ring: RingState;
  readonly main: MainState;
  readonly memory: ArrayBuffer;
  readonly registers: RegisterFile;
  #events: string[] = [];

  constructor(options: Partial<DeviceStateOptions> = {}) {
    const { access, ring, main, memory } = createState(options);
    this.state = access;
    this.ring = ring;
    this.main = main;
    this.memory = memory;
    const say = (text: string) => void this.#events.push(text);
    this.registers = new RegisterFile(this.state, {
      notify: (queue) => say(`notify ${queue}`),
      statusChanged: (status, previous) => say(`status ${hex(previous)} -> ${hex(status)}`),
      reset: () => say(`reset at status ${hex(this.state.status)}`),
      queueReset: (queue) => say(`queue ${queue} reset, ready ${this.state.queues[queue]!.ready}`),
      configWritten: (offset, size) => say(`config ${offset}+${size}`),
      badAccess: (text) => say(text),
    }, { 0: "VIRTIO_SND_F_CTLS" });
  }

  /** What the registers reported since this was last asked. */
  events(): string[] {
    return this.#events.splice(0);
  }

  /**
   * Does one access per line, numbers in hexadecimal: `w 070 1` writes 4 bytes, `r 060 3` reads 4 and expects 3;
   * `w2 104 1` and `r1 100 2` name another size. What follows a `#` is for the reader.
   */
  run(script: string): this {
    for (const line of script.split("\n")) {
      const words = line.replace(/#.*/, "").trim().split(/\s+/);
      if (words[0] === "") continue;
      const [access, offset, value] = [words[0]!, parseInt(words[1]!, 16), parseInt(words[2]!, 16)];
      const size = Number(access.slice(1) || 4);
      if (access.startsWith("w")) this.registers.write(offset, size, value);
      else assertEquals(hex(this.registers.read(offset, size)), hex(value), `in "${line.trim()}"`);
    }
    return this;
  }
}

export function hex(n: number): string {
  return `0x${n.toString(16)}`;
}

/** What a version 2 driver does up to FEATURES_OK. */
export const NEGOTIATE_2 = `
w 070 0
w 070 1
w 070 3
w 024 1
w 020 1
w 024 0
w 020 0
w 070 b
`;

/** What a legacy driver does before it sets up queues: no FEATURES_OK. */
export const NEGOTIATE_LEGACY = `
w 028 1000
w 070 0
w 070 1
w 070 3
w 024 1
w 020 0
w 024 0
w 020 30000000
`;

/** Sets up a queue of 64 in version 2, at 0x40000000 + 0x10000 × index. */
export function setUp2(index: number): string {
  return `
w 030 ${index}
w 038 40
w 080 400${index}0000
w 084 0
w 090 400${index}1000
w 094 0
w 0a0 400${index}2000
w 0a4 0
w 044 1
r 044 1
`;
}

/** Sets up a queue of 64 in version 1, in the page frame 0x40000 + 0x10 × index. */
export function setUp1(index: number): string {
  return `
w 030 ${index}
w 038 40
w 03c 1000
w 040 400${index}0
r 040 400${index}0
`;
}

/** The registers: the kernel's name, the standard's, and what a driver of version 1 and of 2 may do. */
export const ACCESS = `
  MAGIC_VALUE MagicValue r r
  VERSION Version r r
  DEVICE_ID DeviceID r r
  VENDOR_ID VendorID r r
  DEVICE_FEATURES DeviceFeatures r r
  DEVICE_FEATURES_SEL DeviceFeaturesSel w w
  DRIVER_FEATURES DriverFeatures w w
  DRIVER_FEATURES_SEL DriverFeaturesSel w w
  GUEST_PAGE_SIZE GuestPageSize w -
  QUEUE_SEL QueueSel w w
  QUEUE_NUM_MAX QueueNumMax r r
  QUEUE_NUM QueueNum w w
  QUEUE_ALIGN QueueAlign w -
  QUEUE_PFN QueuePFN rw -
  QUEUE_READY QueueReady - rw
  QUEUE_NOTIFY QueueNotify w w
  INTERRUPT_STATUS InterruptStatus r r
  INTERRUPT_ACK InterruptACK w w
  STATUS Status rw rw
  QUEUE_DESC_LOW QueueDescLow - w
  QUEUE_DESC_HIGH QueueDescHigh - w
  QUEUE_AVAIL_LOW QueueDriverLow - w
  QUEUE_AVAIL_HIGH QueueDriverHigh - w
  QUEUE_USED_LOW QueueDeviceLow - w
  QUEUE_USED_HIGH QueueDeviceHigh - w
  SHM_SEL SHMSel w w
  SHM_LEN_LOW SHMLenLow r r
  SHM_LEN_HIGH SHMLenHigh r r
  SHM_BASE_LOW SHMBaseLow r r
  SHM_BASE_HIGH SHMBaseHigh r r
  CONFIG_GENERATION ConfigGeneration - r
`.trim().split("\n").map((line) => line.trim().split(" ") as [string, string, string, string]);
/** Younger than the headers of many systems. */
export const QUEUE_RESET = { offset: 0xc0, name: "QueueReset", access: ["-", "rw"] };

/** Options of a version 1 device. */
export const V1: Partial<DeviceStateOptions> = { mmioVersion: 1 };

/** A driver's mistake: the accesses, what the status must be then, what must be said. */
export interface Mistake {
  readonly name: string;
  readonly options?: Partial<DeviceStateOptions>;
  readonly script: string;
  readonly status: number;
  readonly says: RegExp;
}
