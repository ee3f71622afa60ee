// SPDX-License-Identifier: Apache-2.0
/**
 * Register accesses of a driver that may do anything, beside a device that raises interrupts and changes its config space.
 * After each access the device is in a state that the standard knows, and a successor would take it up.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { bit, VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1 } from "../../../lib/virtio/features.ts";
import { queueLayout } from "../../../lib/virtio/queue_registers.ts";
import { CONFIG_OFFSET, RegisterFile, REGISTERS } from "../../../lib/virtio/registers.ts";
import { DeviceState } from "../../../lib/virtio/state.ts";
import { AccessState, MainState, RingState } from "../../../lib/virtio/state_writers.ts";
import { ANY_U32, mostly, target, type Verdict } from "../target.ts";

type Step =
  | { do: "read"; offset: number; size: number }
  | { do: "write"; offset: number; size: number; value: number }
  | { do: "interrupt"; bits: number }
  | { do: "config"; byte: number };

interface Input {
  version: 1 | 2;
  ringReset: boolean;
  queues: number[];
  configSize: number;
  /** Of virtio-mmio 1 in the node's life; 0: any number. */
  setUps: number;
  steps: Step[];
}

const OFFSETS = REGISTERS.map(({ offset }) => offset);
const STATUS = [0, 1, 3, 11, 15, 7, 0x40, 0x83, 0x80];
/** Bits that a status may have at all (virtio 1.2, §2.1). */
const STATUS_BITS = 0xcf;

const write = (offset: number, value: number): Step => ({ do: "write", offset, size: 4, value });

/** A driver's probe up to the features, of either version; with and without VIRTIO_F_VERSION_1. */
const probe = fc.tuple(fc.boolean(), fc.boolean()).map(([modern, reset]) => [
  ...(reset ? [write(0x70, 0)] : []),
  ...[write(0x28, 4096), write(0x70, 1), write(0x70, 3), write(0x24, 1)],
  ...[write(0x20, modern ? 1 : 0), write(0x24, 0), write(0x20, 0), write(0x70, modern ? 11 : 3)],
]);

const address = mostly(fc.nat({ max: 64 }).map((n) => n * 4096), ANY_U32);
const setUp = fc.record({
  index: mostly(fc.nat({ max: 2 }), ANY_U32),
  num: mostly(fc.constantFrom(1, 8, 16, 64), ANY_U32),
  parts: fc.array(address, { minLength: 3, maxLength: 3 }),
  high: mostly(fc.constant(0), ANY_U32),
}).map(({ index, num, parts: [desc, avail, used], high }) => [
  ...[write(0x30, index), write(0x38, num), write(0x3c, 4096)],
  ...[write(0x80, desc!), write(0x84, high), write(0x90, avail!), write(0xa0, used!)],
  ...[write(0x40, desc! / 4096 >>> 0), write(0x44, 1)],
]);

const offset = mostly(
  fc.oneof(fc.constantFrom(...OFFSETS), fc.nat({ max: 24 }).map((n) => CONFIG_OFFSET + n)),
  fc.oneof(fc.nat({ max: 0x200 }), ANY_U32),
);
const size = mostly(fc.constant(4), fc.constantFrom(0, 1, 2, 3, 8), 3);
const value = fc.oneof(fc.constantFrom(...STATUS), fc.nat({ max: 4 }), ANY_U32);
const single: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("read" as const), offset, size }),
  { weight: 3, arbitrary: fc.record({ do: fc.constant("write" as const), offset, size, value }) },
  fc.constantFrom(...STATUS).map((status) => write(0x70, status)),
  fc.record({ do: fc.constant("interrupt" as const), bits: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ do: fc.constant("config" as const), byte: fc.nat({ max: 255 }) }),
);
const steps = fc.array(
  fc.oneof({ weight: 6, arbitrary: single.map((one) => [one]) }, probe, setUp),
  { maxLength: 30, size: "max" },
).map((all) => all.flat());

const input: fc.Arbitrary<Input> = fc.record({
  version: fc.constantFrom(1, 2),
  ringReset: fc.boolean(),
  queues: fc.array(fc.constantFrom(1, 16, 64), { minLength: 1, maxLength: 3 }),
  configSize: fc.constantFrom(0, 5, 20),
  setUps: fc.constantFrom(0, 0, 3),
  steps,
});

/** Bytes behind the state that nobody may write. */
const GUARD = 64;

/** What stood before a step. */
interface Snapshot {
  status: number;
  epoch: number;
  queues: string[];
}

/** A device's registers, and what must hold of them. */
class Device {
  readonly #memory: ArrayBuffer;
  readonly #bytes: number;
  readonly #state: AccessState;
  readonly #ring: RingState;
  readonly #main: MainState;
  readonly #file: RegisterFile;
  readonly #header: Uint8Array;
  #accesses = 0;
  /** What was reported since the last step. */
  #resets = 0;
  #said: string[] = [];

  constructor({ version, ringReset, queues, configSize, setUps }: Input) {
    this.#bytes = DeviceState.sizeFor(queues.length, Math.max(...queues));
    this.#memory = new ArrayBuffer(this.#bytes + GUARD);
    this.#main = MainState.create(this.#memory, {
      name: "a",
      deviceId: 25,
      vendorId: 1,
      mmioVersion: version,
      queueSizes: queues,
      deviceFeatures: bit(VIRTIO_F_VERSION_1) | (ringReset ? bit(VIRTIO_F_RING_RESET) : 0n) | 3n,
      config: new Uint8Array(configSize),
      maxQueueSetups: setUps,
    });
    this.#state = AccessState.open(this.#memory);
    this.#ring = RingState.open(this.#memory);
    this.#file = new RegisterFile(this.#state, {
      notify: (queue) => assert(this.#state.queues[queue]!.ready, `notified of ${queue}`),
      statusChanged: (now, before) => assertEquals([now & before, now !== before], [before, true]),
      reset: () => this.#resets++,
      queueReset: (queue) => assert(!this.#state.queues[queue]!.ready),
      configWritten: (offset, size) => assert(offset + size <= configSize),
      badAccess: (text) => this.#said.push(text),
    });
    new Uint8Array(this.#memory, this.#bytes).fill(0xa5);
    this.#header = new Uint8Array(this.#memory, 0, 64).slice();
  }

  /** Accesses that a driver must not do. */
  get bad(): number {
    return this.#state.counters[3]!;
  }

  take(step: Step): void {
    const before = this.#snapshot();
    if (step.do === "interrupt") this.#ring.raiseInterruptStatus(step.bits);
    else if (step.do === "config") this.#publish(step.byte);
    else this.#access(step);
    this.#check();
    this.#compare(before);
  }

  #publish(byte: number): void {
    this.#main.publishConfig(new Uint8Array(this.#state.configSize).fill(byte));
  }

  #access(step: Step & { do: "read" | "write" }): void {
    this.#accesses++;
    if (step.do === "write") return this.#file.write(step.offset, step.size, step.value);
    const value = this.#file.read(step.offset, step.size);
    assert(Number.isInteger(value) && value >= 0 && value < 2 ** 32, `read ${value}`);
    assertEquals(this.#file.read(step.offset, step.size), value, "expected the same again");
    this.#accesses++;
  }

  #snapshot(): Snapshot {
    const { status, epoch, queues } = this.#state;
    this.#resets = 0;
    return { status, epoch, queues: queues.map((queue) => setUpText(queue)) };
  }

  /** What holds at any time. */
  #check(): void {
    const { status, driverFeatures, deviceFeatures } = this.#state;
    const has = (bits: number): boolean => (status & bits) === bits;
    assert((status & ~STATUS_BITS) === 0, `status ${status}`);
    assert(!has(2) || has(1), `DRIVER without ACKNOWLEDGE: ${status}`);
    assert((status & 12) === 0 || has(3), `FEATURES_OK or DRIVER_OK without DRIVER: ${status}`);
    const agreed = has(8) || has(4);
    assert(!agreed || (driverFeatures & ~deviceFeatures) === 0n, "agreed on what is not offered");
    const modern = this.#state.mmioVersion === 2;
    assert(!modern || !has(4) || has(8), `DRIVER_OK without FEATURES_OK: ${status}`);
    assert(this.#said.length <= 25, `so much was said: ${this.#said.length} lines`);
    assert(this.bad >= this.#said.length);
    assertEquals(this.#state.counters[0], this.#accesses);
    for (const { index, ready } of this.#state.queues) {
      if (ready) queueLayout(this.#state, index);
      else assertThrows(() => queueLayout(this.#state, index), RangeError);
    }
    this.#checkMemory();
  }

  /** A successor opens what is there; what the registers have no say in is as it was. */
  #checkMemory(): void {
    AccessState.open(this.#memory.slice(0));
    assertEquals(new Uint8Array(this.#memory, 0, 64), this.#header, "the header was written");
    const guard = new Uint8Array(this.#memory, this.#bytes);
    assert(guard.every((byte) => byte === 0xa5), "something was written behind the state");
    assert(this.#ring.replay.every((byte) => byte === 0), "the class area was written");
  }

  /** What one step may change. */
  #compare({ status, epoch, queues }: Snapshot): void {
    const wasReset = this.#resets > 0;
    assertEquals(this.#state.epoch - epoch, this.#resets, "an epoch for each reset");
    const cleared = status & ~this.#state.status;
    assert(wasReset || cleared === 0, `bits ${cleared} of the status were cleared without a reset`);
    this.#state.queues.forEach((queue, i) => {
      const isSame = setUpText(queue) === queues[i];
      assert(isSame || !queue.ready || queues[i] === "", `queue ${i} changed while it was ready`);
    });
  }
}

/** Where a queue lies and its life; empty while it is not set up. */
function setUpText(queue: AccessState["queues"][number]): string {
  if (!queue.ready) return "";
  const { num, desc, avail, used, epoch } = queue;
  return [num, desc, avail, used, epoch].join(" ");
}

function judge(input: Input): Verdict {
  const device = new Device(input);
  for (const step of input.steps) device.take(step);
  return device.bad === 0 ? "accepted" : "refused";
}

/** See the module. */
export const REGISTER_ACCESSES = target("registers", input, judge);
