// SPDX-License-Identifier: Apache-2.0
// Every class of the list with a back-end that is made of the class's data: what a driver finds, and that each of its queues
// is carried. A class is tested by being listed.
import { assertEquals } from "@std/assert";
import { Reactor } from "../../ffi/mod.ts";
import { Bridge, type BridgeEvent, type MemoryMode } from "../../lib/bridge/mod.ts";
import { DEVICE_CLASSES } from "../../lib/classes/mod.ts";
import { SoftGuestPort, SoftNode } from "../../lib/loopback/mod.ts";
import { BackEndServer } from "../../lib/vhost_user/mod.ts";
import type { BackEndDevice, BackEndRing } from "../../lib/vhost_user/back_end.ts";
import { type DeviceClass, maskedFeatures } from "../../lib/virtio/device_class.ts";
import { bit } from "../../lib/virtio/features.ts";
import { VIRTQ_DESC_F_WRITE } from "../../lib/virtio/ring_layout.ts";
import { Chain, DriverRing, splitRingLayout } from "../../lib/virtio/split_ring.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder, until } from "../support/process.ts";

const [STATUS, CONFIG] = [0x070, 0x100];
const VERSION_1 = bit(32);
const SIZE = 16;
const [RING_BYTES, BUFFERS_AT, BUFFER_BYTES] = [0x1000, 0x80000, 64];

/** Offers all that the class has, and fills every buffer with its queue's number. */
class FullBackEnd implements BackEndDevice {
  readonly name: string;
  readonly deviceId: number;
  readonly features: bigint;
  readonly queueCount: number;
  readonly maxQueueSize = 1024;
  readonly config: Uint8Array<ArrayBuffer>;

  constructor({ id, name, queues, config, featureNames }: DeviceClass, has: boolean) {
    const bits = Object.keys(featureNames).map(Number);
    this.deviceId = id;
    this.name = name;
    this.features = bits.reduce((all, n) => all | bit(n), VERSION_1);
    const { required, max } = config;
    // Numbers of ports, pairs or queues lie in config spaces: each byte of twos is one that is possible.
    this.config = new Uint8Array(has || required ? max : 0);
    for (let at = 0; at < this.config.length; at += 4) this.config[at] = 2;
    const profile = { features: this.features, queueCount: 256, config: this.config };
    this.queueCount = queues(profile).length;
  }

  readConfig(): Uint8Array {
    return this.config;
  }

  startRing(live: BackEndRing): void {
    live.onKick = () => this.#serve(live);
    this.#serve(live);
  }

  #serve(live: BackEndRing): void {
    const chain = new Chain();
    do {
      while (live.ring.pop(chain)) {
        chain.scatter(0, new Uint8Array(chain.writableBytes).fill(1 + live.index));
        live.ring.complete(chain.head, chain.writableBytes);
      }
    } while (live.ring.enableNotifications());
    live.call();
  }

  stopRing(): void {}
  disconnected(): void {}
}

/** A driver that a test is. */
class Driver {
  readonly rings: DriverRing[] = [];

  constructor(readonly port: SoftGuestPort) {}

  async write(offset: number, value: number): Promise<void> {
    this.port.beginWrite(offset, 4, value);
    await until(() => !this.port.pending, "an answer");
  }

  offered(): bigint {
    const word = (n: number): bigint => {
      this.port.write(0x014, 4, n);
      return BigInt(this.port.read(0x010, 4) >>> 0);
    };
    return word(0) | word(1) << 32n;
  }

  /** Sets up every queue that there is, with a buffer in each. */
  async bringUp(features: bigint): Promise<void> {
    const { port } = this;
    for (const status of [0, 1, 3]) await this.write(STATUS, status);
    for (const [word, bits] of [[1, features >> 32n], [0, features & 0xffffffffn]] as const) {
      port.write(0x024, 4, word);
      port.write(0x020, 4, Number(bits));
    }
    await this.write(STATUS, 0xb);
    for (let index = 0; this.#setUp(index); index++) this.#offer(index);
    await this.write(STATUS, 0xf);
  }

  #setUp(index: number): boolean {
    const { port } = this;
    port.write(0x030, 4, index);
    if (port.read(0x034, 4) === 0) return false;
    const layout = splitRingLayout(port.guestBase + index * RING_BYTES, SIZE);
    port.write(0x038, 4, SIZE);
    const places = [[0x080, layout.desc], [0x090, layout.avail], [0x0a0, layout.used]] as const;
    for (const [register, address] of places) port.write(register, 4, address);
    port.write(0x044, 4, 1);
    const options = { indirect: false, eventIdx: false, deviceName: "the driver" };
    this.rings.push(new DriverRing(port.memory, { index, size: SIZE, ...layout }, options));
    return true;
  }

  bufferOf(index: number): number {
    return this.port.guestBase + BUFFERS_AT + index * BUFFER_BYTES;
  }

  #offer(index: number): void {
    const ring = this.rings[index]!;
    ring.writeDescriptor(0, this.bufferOf(index), BUFFER_BYTES, VIRTQ_DESC_F_WRITE, 0);
    ring.offer(0);
    ring.publish();
  }

  kickEach(): void {
    this.rings.forEach((_, index) => this.port.write(0x050, 4, index));
  }

  /** The numbers that came back, by queue. */
  async filled(): Promise<number[]> {
    const used = { head: 0, length: 0 };
    for (const [index, ring] of this.rings.entries()) {
      await until(() => ring.takeUsed(used), `the buffer of queue ${index}`);
      assertEquals(used, { head: 0, length: BUFFER_BYTES });
    }
    return this.rings.map((_, index) => {
      const { u8, guest } = this.port.memory.region(this.bufferOf(index), BUFFER_BYTES);
      return u8[this.bufferOf(index) - guest]!;
    });
  }
}

interface Counters {
  queues: { chains: number }[];
}

async function carries(one: DeviceClass, memory: MemoryMode, has: boolean): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await TempFolder.create());
  const reactor = stack.use(new Reactor());
  const node = stack.use(new SoftNode(1 << 20));
  node.listen(folder.file("node"), reactor);
  const port = stack.use(new SoftGuestPort(node.wires));
  const backEnd = new FullBackEnd(one, has);
  stack.use(new BackEndServer(reactor, folder.file("socket"), backEnd));
  const events: BridgeEvent[] = [];
  const event = async (kind: BridgeEvent["kind"]): Promise<void> => {
    await until(() => events.some((one) => one.kind === kind), `"${kind}" of ${one.name}`);
  };
  const bridge = stack.use(await Bridge.start({ onEvent: (event) => events.push(event) }));
  bridge.add({
    class: one,
    socket: folder.file("socket"),
    loopback: `soft:${folder.file("node")}`,
    memory,
    mmioVersion: "auto",
    priority: 0,
    lane: "lane",
  });
  await event("started");
  assertEquals(port.read(0x008, 4), one.id);
  const driver = new Driver(port);
  const config = backEnd.config.map((_, at) => port.read(CONFIG + at, 1));
  assertEquals(config, backEnd.config);
  const offered = driver.offered();
  assertEquals(offered, backEnd.features & ~maskedFeatures(one, backEnd.config.length));
  await driver.bringUp(offered);
  await event("running");
  assertEquals(driver.rings.length, backEnd.queueCount);
  // A driver's kick counts although its buffers were found before it.
  const found = () =>
    (bridge.counters() as Counters[])[0]!.queues.every(({ chains }) => chains > 0);
  if (memory === "isolated") await until(found, "the buffers to be found");
  driver.kickEach();
  assertEquals(await driver.filled(), driver.rings.map((_, index) => 1 + index));
}

for (const one of DEVICE_CLASSES) {
  const hasChoice = one.config.max > 0 && !one.config.required;
  for (const memory of ["isolated", "direct"] as const) {
    for (const has of hasChoice ? [true, false] : [true]) {
      const what = hasChoice ? `, ${has ? "with" : "without"} config space` : "";
      Deno.test(
        `${one.name}: every queue of a back-end is carried, ${memory} memory${what}`,
        () => withoutLeaks(() => carries(one, memory, has)),
      );
    }
  }
}
