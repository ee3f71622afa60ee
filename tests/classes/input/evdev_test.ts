// SPDX-License-Identifier: Apache-2.0
// An input device of the host as the source of events: its node is played by the test.
import { assertEquals, assertThrows } from "@std/assert";
import { EVDEV_NUMBERS, EventFd, osError, WOULD_BLOCK } from "../../../ffi/mod.ts";
import {
  createInput,
  device as role,
  type InputDeviceContract,
} from "../../../lib/classes/input/device.ts";
import { input } from "../../../lib/classes/input/class.ts";
import {
  capabilitiesOf,
  type Evdev,
  EvdevSource,
  HOST_EVENT_SIZE,
  openEvdev,
  RETRY_NS,
} from "../../../lib/classes/input/evdev.ts";
import { decodeEvent, encodeBits, encodeEvent } from "../../../lib/classes/input/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

const [SYN, KEY, REL, ABS, LED, REP] = [0, 1, 2, 3, 0x11, 0x14];
const DROPPED = 3;
type Triple = [type: number, code: number, value: number];

/** Events as the host has them. */
function hostBytes(events: readonly Triple[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(events.length * HOST_EVENT_SIZE);
  events.forEach(([type, code, value], i) => {
    const view = new DataView(bytes.buffer, i * HOST_EVENT_SIZE);
    view.setUint32(0, 1_700_000_000, true); // a time, which is of no use
    encodeEvent(new DataView(bytes.buffer, i * HOST_EVENT_SIZE + 16), { type, code, value });
  });
  return bytes;
}

/** What the kernel knows of a device, and does. */
class FakeHost {
  name = "Maus ü";
  pressed: number[] = [];
  position = 7;
  /** Events that were not read. */
  events: Triple[] = [];
  /** What a read returns instead. */
  failure = 0;
  isBusy = false;
  isOpen = false;
  isGrabbed = false;
  /** What was written. */
  written: string[] = [];

  open(): Evdev {
    const wake = EventFd.create();
    this.isOpen = true;
    return {
      number: wake.number,
      path: "/dev/input/event7",
      get: (number, length) => this.#get(number, length),
      grab: () => {
        if (this.isBusy) throw osError("take /dev/input/event7 for itself", "EBUSY");
        this.isGrabbed = true;
      },
      read: (bytes) => {
        if (this.failure !== 0) return this.failure;
        const events = this.events.splice(0, Math.floor(bytes.length / HOST_EVENT_SIZE));
        if (events.length === 0) return WOULD_BLOCK;
        bytes.set(hostBytes(events));
        return events.length * HOST_EVENT_SIZE;
      },
      write: (bytes) => {
        const { type, code, value } = decodeEvent(new DataView(bytes.buffer, 16))!;
        this.written.push(`${type} ${code} ${value}`);
        return bytes.length;
      },
      close: () => {
        wake.close();
        this.isOpen = this.isGrabbed = false;
      },
    };
  }

  #get(number: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    const { EVIOCGID, EVIOCGNAME, EVIOCGUNIQ, EVIOCGPROP, EVIOCGKEY, EVIOCGBIT, EVIOCGABS } =
      EVDEV_NUMBERS;
    if (number === EVIOCGUNIQ) throw osError("use /dev/input/event7 as an input device", "ENOENT");
    const answers: Record<number, Uint8Array> = {
      [EVIOCGID]: Uint8Array.of(3, 0, 0x34, 0x12, 2, 0, 0, 1),
      [EVIOCGNAME]: new TextEncoder().encode(this.name),
      [EVIOCGPROP]: encodeBits([1]),
      [EVIOCGKEY]: encodeBits(this.pressed),
      [EVIOCGBIT + KEY]: encodeBits([30, 0x110]),
      [EVIOCGBIT + REL]: encodeBits([0, 1]),
      [EVIOCGBIT + ABS]: encodeBits([0]),
      [EVIOCGBIT + LED]: encodeBits([0]),
      [EVIOCGABS]: new Uint8Array(Int32Array.of(this.position, -5, 300, 1, 2, 3).buffer),
    };
    bytes.set(answers[number] ?? []);
    return bytes;
  }
}

/** An input device at its queues, and the host's device behind it. */
class Bench implements Disposable {
  readonly host = new FakeHost();
  readonly bench: DeviceBench<InputDeviceContract>;
  readonly wiring: Wiring;
  readonly #places = new Map<number, number>();
  #token = 0;

  constructor(isGrabbed = true) {
    const options = { path: "/dev/input/event7", isGrabbed, open: () => this.host.open() };
    const node = this.host.open();
    const capabilities = capabilitiesOf(node);
    node.close();
    this.bench = new DeviceBench<InputDeviceContract>({
      deviceClass: input,
      check: () => {},
      create: (_, host) => createInput(new EvdevSource(capabilities, options, host), host),
    }, {});
    this.wiring = new Wiring(this.bench.device);
  }

  /** A driver comes. */
  begin(buffers = 60): this {
    this.bench.device.featuresAccepted(0n);
    this.wiring.start();
    this.offer(buffers);
    return this;
  }

  /** It leaves. */
  end(): void {
    for (const queue of [0, 1]) this.bench.device.stopRing(queue, false);
    this.bench.device.disconnected();
  }

  offer(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#places.set(++this.#token, this.wiring.offer(0, this.#token, [], [8])[0]!);
    }
  }

  /** What the driver got since the last call. */
  received(): string[] {
    this.bench.device.turn();
    const all: string[] = [];
    for (let used; (used = this.wiring.queues[0]!.take()) !== null;) {
      if (used.length === 0) continue;
      const view = new DataView(this.wiring.buffer, this.#places.get(used.token)!, 8);
      const { type, code, value } = decodeEvent(view)!;
      all.push(`${type} ${code} ${value}`);
    }
    return all;
  }

  reported(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench.device.disconnected();
    this.bench[Symbol.dispose]();
  }
}

const BEGIN = ["3 0 7", "0 0 0"];

Deno.test("input: a device of the host is what the kernel says of it", () => {
  const host = new FakeHost();
  assertEquals(openEvdev("/dev/input/event7", (() => host.open()) as never), {
    name: "Maus ü",
    serial: "",
    ids: { bustype: 3, vendor: 0x1234, product: 2, version: 0x100 },
    properties: [1],
    codes: new Map([[KEY, [30, 0x110]], [REL, [0, 1]], [ABS, [0]], [LED, [0]]]),
    axes: new Map([[0, { min: -5, max: 300, fuzz: 1, flat: 2, res: 3 }]]),
  });
  assertEquals(host.isOpen, false);
});

Deno.test("input: what is no device of the host is refused, with what to try", () => {
  for (const [evdev, text] of [["/dev/null", "ENOTTY"], ["/dev/input/none", "ENOENT"]] as const) {
    assertThrows(() => role.check({ evdev }), SpecError, text);
    assertThrows(() => role.check({ evdev }), SpecError, "/proc/bus/input/devices lists");
  }
  assertThrows(() => role.check({ evdev: "/dev/null", events: "f" }), SpecError, "one of them");
  assertThrows(() => role.check({ grab: "no" }), SpecError, "expected evdev too");
});

Deno.test("input: events of the host go to the driver, while there is one", () => {
  using bench = new Bench();
  assertEquals(bench.host.isOpen, false);
  bench.begin();
  assertEquals([bench.host.isGrabbed, bench.received()], [true, BEGIN]);
  bench.host.events = [[KEY, 30, 1], [REL, 0, -3], [LED, 0, 1], [REP, 0, 1], [KEY, 99, 1], [
    SYN,
    0,
    0,
  ]];
  assertEquals(bench.received(), ["1 30 1", "2 0 -3", "0 0 0"]);
  bench.host.events = [[KEY, 30, 2], [SYN, 0, 0], [KEY, 30, 0], [SYN, 0, 0]];
  assertEquals(bench.received(), ["1 30 2", "0 0 0", "1 30 0", "0 0 0"]);
  bench.end();
  assertEquals([bench.host.isOpen, bench.bench.clock.alarm], [false, Infinity]);
  using shared = new Bench(false).begin();
  assertEquals([shared.host.isOpen, shared.host.isGrabbed], [true, false]);
});

Deno.test("input: a driver is told what is pressed when it comes, and a second one too", () => {
  using bench = new Bench();
  bench.host.pressed = [30];
  for (let life = 0; life < 2; life++) {
    assertEquals(bench.begin(10).received(), ["1 30 1", ...BEGIN]);
    bench.end();
    assertEquals(bench.received(), [], "the other buffers come back empty");
  }
});

Deno.test("input: events that the kernel had no room for are made up for", () => {
  using bench = new Bench().begin();
  bench.host.events = [[KEY, 30, 1], [SYN, 0, 0]];
  assertEquals(bench.received(), [...BEGIN, "1 30 1", "0 0 0"]);
  bench.host.pressed = [0x110];
  bench.host.position = 100;
  bench.host.events = [[REL, 1, 1], [SYN, DROPPED, 0], [KEY, 30, 2], [SYN, 0, 0], [REL, 1, 5], [
    SYN,
    0,
    0,
  ]];
  assertEquals(bench.received(), [
    "2 1 1",
    ...["1 30 0", "1 272 1", "3 0 100", "0 0 0"],
    ...["2 1 5", "0 0 0"],
  ]);
});

Deno.test("input: events stay with the kernel while the driver has no buffers, and none is lost", () => {
  using bench = new Bench().begin(2);
  assertEquals(bench.received(), BEGIN);
  bench.host.events = Array.from({ length: 200 }, (_, i) => [REL, 0, i] as Triple);
  assertEquals(bench.received(), []);
  assertEquals(bench.host.events.length, 200 - 64);
  const all: string[] = [];
  for (let i = 0; i < 5; i++) {
    bench.offer(50);
    all.push(...bench.received());
  }
  assertEquals(all, Array.from({ length: 200 }, (_, i) => `2 0 ${i}`));
  assertEquals(bench.bench.clock.alarm, Infinity);
});

Deno.test("input: LEDs that the driver sets are set on the host, and nothing else is", () => {
  using bench = new Bench().begin();
  const set = (type: number, code: number) => {
    const bytes = new Uint8Array(8);
    encodeEvent(new DataView(bytes.buffer), { type, code, value: 1 });
    bench.wiring.offer(1, 1, [bytes], []);
    bench.wiring.queues[1]!.take();
  };
  for (const [type, code] of [[LED, 0], [LED, 1], [KEY, 30], [SYN, 0]] as const) set(type, code);
  assertEquals(bench.host.written, ["17 0 1"]);
});

Deno.test("input: of a device that is unplugged nothing stays pressed, and it is used when it is back", () => {
  using bench = new Bench().begin();
  const { host, bench: { clock } } = bench;
  host.events = [[KEY, 30, 1], [SYN, 0, 0]];
  bench.received();
  host.failure = -19;
  assertEquals(bench.received(), ["1 30 0", "0 0 0"]);
  assertEquals(bench.reported("error"), [
    "Cannot read from /dev/input/event7: no such device (ENODEV)",
  ]);
  assertEquals(host.isOpen, false);
  host.failure = 0;
  host.name = "another";
  clock.pass(RETRY_NS / 1e6);
  assertEquals([host.isOpen, bench.received()], [false, []], "another device is not used");
  host.name = "Maus ü";
  clock.pass(RETRY_NS / 1e6);
  assertEquals([host.isOpen, bench.received()], [true, BEGIN]);
  assertEquals(bench.reported("error").length, 1);
  assertEquals(bench.reported("notice"), ["/dev/input/event7 is used again"]);
});

Deno.test("input: a device that somebody else has is waited for, and that is told once", () => {
  using bench = new Bench();
  bench.host.isBusy = true;
  bench.begin();
  bench.bench.clock.pass(5 * RETRY_NS / 1e6);
  assertEquals(bench.reported("error"), [
    "Cannot take /dev/input/event7 for itself: device or resource busy (EBUSY)",
  ]);
  bench.host.isBusy = false;
  bench.bench.clock.pass(RETRY_NS / 1e6);
  assertEquals([bench.host.isGrabbed, bench.received()], [true, BEGIN]);
});
