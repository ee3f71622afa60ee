// SPDX-License-Identifier: Apache-2.0
// Drivers that lie, in rings and registers: viola says so, tells the driver that it must reset, and goes on after that; its
// neighbour in the lane notices nothing.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { takeEvent } from "../../../ffi/mod.ts";
import { SoftGuestPort, type SoftNode } from "../../../lib/loopback/mod.ts";
import { VQ_CONTROL, VQ_TX } from "../../../lib/classes/sound/wire.ts";
import { INTERRUPT_CONFIG_CHANGE, STATUS_DEVICE_NEEDS_RESET } from "../../../lib/virtio/state.ts";
import {
  type HostileGuest,
  MESSAGE_FAULTS,
  PLACEMENT_FAULTS,
  RING_FAULTS,
} from "../../guest/hostile.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { DIAGONAL, MODES, type ToldDevice, WholeChain } from "./chain.ts";

const RUNNING = 0xf;
const [INTERRUPT_STATUS, STATUS] = [0x060, 0x070];

/** A request that any sound device answers, if only to say that it is none. */
const SOME_REQUEST = MESSAGE_FAULTS.find(({ name }) => name === "a code that is none")!;

/** A card whose driver lies, and a neighbour in its lane that reads entropy all the time. */
class Bench implements AsyncDisposable {
  #reading: Promise<number> | null = null;
  #ended = false;

  private constructor(
    readonly chain: WholeChain,
    readonly node: SoftNode,
    readonly card: ToldDevice,
    readonly hostile: HostileGuest,
    readonly port: SoftGuestPort,
  ) {}

  static async create(mode: typeof MODES[number]): Promise<Bench> {
    const chain = await WholeChain.create();
    await chain.device({ class: "rng", socket: chain.file("rng.socket") });
    const card = await chain.device({ class: "sound", socket: chain.file("socket"), pace: "free" });
    const [neighbour, node] = [chain.node("rng.node"), chain.node("node")];
    const { memory } = mode;
    const [socket, loopback] = [chain.file("rng.socket"), chain.loopback("rng.node")];
    chain.add({ class: "rng", socket, loopback, memory, name: "neighbour" });
    chain.add({ class: "sound", ...mode, name: "card" });
    const port = chain.use(new SoftGuestPort(node.wires));
    const bench = new Bench(chain, node, card, await chain.hostileGuest(node), port);
    bench.#reading = bench.#read(neighbour);
    return bench;
  }

  /** @returns how often it read */
  async #read(node: SoftNode): Promise<number> {
    const guest = await this.chain.entropyGuest(node);
    await guest.probe();
    let count = 0;
    for (; !this.#ended || count === 0; count++) {
      assertEquals((await guest.call("readEntropy", 256)).length, 256);
    }
    return count;
  }

  /** Brings the card up from nothing, and has it answer. */
  async heal(indirect = false): Promise<void> {
    const { chain, hostile } = this;
    const since = chain.events.length;
    assertEquals((await hostile.bringUp(indirect)).status, RUNNING);
    const isRunning = chain.events.slice(since).some(({ kind }) => kind === "running");
    assert(isRunning, "DRIVER_OK was answered before the rings were served");
    await hostile.writeMessage(SOME_REQUEST);
    await until(async () => await hostile.usedIdx(VQ_CONTROL) === 1, "an answer");
    takeEvent(this.node.wires.interrupt);
  }

  /** Waits until the card tells its driver that it needs a reset: by its status, and by an interrupt. */
  async awaitNeedsReset(): Promise<void> {
    const { port, node } = this;
    const needs = () => (port.read(STATUS, 4) & STATUS_DEVICE_NEEDS_RESET) !== 0;
    await until(needs, "DEVICE_NEEDS_RESET");
    const isTold = () => (port.read(INTERRUPT_STATUS, 4) & INTERRUPT_CONFIG_CHANGE) !== 0;
    await until(isTold, "a config interrupt");
    await until(() => takeEvent(node.wires.interrupt) > 0, "its bell");
  }

  /** The texts of errors of the card, as the bridge told them. */
  errors(since: number): string[] {
    return this.chain.events.slice(since)
      .filter(({ device, kind }) => device === "card" && kind === "error").map(({ text }) => text);
  }

  /** Asserts that nothing but the driver was blamed, and that the neighbour was served all along. */
  async end(): Promise<void> {
    this.#ended = true;
    assert(await this.#reading! > 0);
    const { events } = this.chain;
    const neighbour = events.filter(({ device }) => device === "neighbour").map(({ kind }) => kind);
    assertEquals(neighbour, ["connected", "started", "running"]);
    assertEquals(events.filter(({ kind }) => kind === "lost"), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await this.#reading?.catch(() => {});
    await this.chain[Symbol.asyncDispose]();
  }
}

/** Which queues a lie is told in, and who reads those: viola, or the device in the driver's own memory. */
const QUEUES = {
  isolated: [
    { queue: VQ_CONTROL, reader: "viola" },
    { queue: VQ_TX, reader: "viola" },
  ],
  direct: [
    { queue: VQ_CONTROL, reader: "viola" },
    { queue: VQ_TX, reader: "device" },
  ],
} as const;

for (const mode of DIAGONAL) {
  const { memory } = mode;
  Deno.test(`a driver with malformed rings must reset, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using bench = await Bench.create(mode);
      const { chain, hostile, card } = bench;
      for (const lie of RING_FAULTS) {
        // A device that answers at once finds nothing wrong with a head that is offered again; one that takes all first does.
        const says = lie.says ?? (lie.name.includes("offered again") ? /in flight/ : null);
        for (const { queue, reader } of QUEUES[memory]) {
          const since = chain.events.length;
          const sinceCard = card.events.length;
          await bench.heal(lie.indirect);
          await hostile.writeRing(lie, queue);
          if (says === null) {
            assertEquals(await hostile.status(), RUNNING, lie.name);
          } else if (reader === "viola") {
            await bench.awaitNeedsReset();
            const [error, ...more] = bench.errors(since);
            assertMatch(error!, says, lie.name);
            assertMatch(error!, new RegExp(`queue ${queue} of card`), lie.name);
            assertEquals(more, [], lie.name);
          } else if (lie.says !== null) {
            const errors = () =>
              card.events.slice(sinceCard).filter(({ kind }) => kind === "error");
            await until(() => errors().length > 0, `the device to mind ${lie.name}`);
            assertMatch(errors()[0]!.text, says, lie.name);
            assertMatch(errors()[0]!.text, new RegExp(`queue ${queue} of`), lie.name);
          }
        }
      }
      await bench.heal();
      await bench.end();
    });
  });
}

for (const mode of MODES) {
  const { memory, mmioVersion } = mode;
  Deno.test(`a driver with rings outside memory must reset, ${memory}, mmio ${mmioVersion}`, async () => {
    await withoutLeaks(async () => {
      await using bench = await Bench.create(mode);
      const { chain, hostile } = bench;
      for (const place of PLACEMENT_FAULTS) {
        // In version 1 a ring is one block, which begins with the descriptor table, and is not set up at 0.
        if (mmioVersion === 1 && !place.name.includes("table behind")) continue;
        await bench.heal();
        const since = chain.events.length;
        await hostile.bringUp(false, place);
        await bench.awaitNeedsReset();
        const [error] = bench.errors(since);
        assertMatch(error!, /queue 0/, place.name);
      }
      await bench.heal();
      await bench.end();
    });
  });

  Deno.test(`a driver that storms is served when it is done, ${memory}, mmio ${mmioVersion}`, async () => {
    await withoutLeaks(async () => {
      await using bench = await Bench.create(mode);
      const { hostile, chain } = bench;
      for (let i = 0; i < 40; i++) {
        await hostile.bringUp(i % 2 === 0);
        if (i % 3 === 0) await hostile.writeMessage(SOME_REQUEST);
        if (i % 5 === 0) await hostile.reset();
        if (i % 7 === 0) { for (let n = 0; n < 20; n++) await hostile.reset(); }
      }
      await bench.heal();
      assertEquals(bench.errors(0), [], chain.report());
      await bench.end();
    });
  });
}

/** What is written to a queue's registers in version 2, in place of what is right. */
interface Placement {
  size: number;
  desc: number;
  avail: number;
  used: number;
}

/** What breaks the device at once, and what it says of that. */
const SETUP_LIES: Record<string, { lie: Partial<Placement>; says: RegExp }> = {
  "a descriptor table between two multiples of 16": { lie: { desc: 8 }, says: /0x40000008/ },
  "an available ring at an odd address": { lie: { avail: 0x1001 }, says: /0x40001001/ },
  "a used ring between two multiples of 4": { lie: { used: 0x2002 }, says: /0x40002002/ },
  "a size that is no power of two": { lie: { size: 3 }, says: /size 3/ },
  "a size of 0": { lie: { size: 0 }, says: /size 0/ },
  "a size above the largest": { lie: { size: 128 }, says: /size 128/ },
  "an address above 2^53": { lie: { desc: 2 ** 60 }, says: /0x1000000040000000/ },
};

/** Brings a device of version 2 up to FEATURES_OK, sets queue 0 up if there is a place for it, and says DRIVER_OK. */
async function bringUp(port: SoftGuestPort, placement: Placement | null): Promise<void> {
  for (const status of [0, 1, 3]) port.write(STATUS, 4, status);
  for (const [select, bits] of [[1, 1], [0, 0]] as const) {
    port.write(0x024, 4, select);
    port.write(0x020, 4, bits);
  }
  port.write(STATUS, 4, 0xb);
  if (placement !== null) {
    port.write(0x030, 4, 0);
    port.write(0x038, 4, placement.size);
    const parts = [[0x080, placement.desc], [0x090, placement.avail], [0x0a0, placement.used]];
    for (const [register, offset] of parts) {
      const address = port.guestBase + offset!;
      port.write(register!, 4, address % 2 ** 32);
      port.write(register! + 4, 4, Math.floor(address / 2 ** 32));
    }
    port.write(0x044, 4, 1);
  }
  port.beginWrite(STATUS, 4, RUNNING);
  await until(() => !port.pending, "DRIVER_OK to be answered");
}

for (const mode of MODES.filter(({ mmioVersion }) => mmioVersion === 2)) {
  Deno.test(`a driver that sets up a malformed queue must reset, ${mode.memory}`, async () => {
    await withoutLeaks(async () => {
      await using bench = await Bench.create(mode);
      const { chain, port, hostile } = bench;
      for (const [name, { lie, says }] of Object.entries(SETUP_LIES)) {
        await bench.heal();
        await hostile.reset(); // by the driver's thread: the answer may have to wait for this one
        const since = chain.events.length;
        await bringUp(port, { size: 64, desc: 0, avail: 0x1000, used: 0x2000, ...lie });
        await bench.awaitNeedsReset();
        const [error] = bench.errors(since);
        // A kind of fault is told once in a device's life, so that none floods the log.
        if (error !== undefined) {
          assertMatch(error, /queue 0/, name);
          assertMatch(error, says, name);
        }
      }
      await bench.heal();
      await bench.end();
    });
  });

  Deno.test(`a driver that sets no queue up is left alone, ${mode.memory}`, async () => {
    await withoutLeaks(async () => {
      await using bench = await Bench.create(mode);
      const { chain, port, hostile } = bench;
      await bench.heal();
      await hostile.reset();
      const since = chain.events.length;
      await bringUp(port, null);
      port.write(0x050, 4, 0);
      assertMatch((await chain.event("error", since)).text, /queue 0 is not set up/);
      assertEquals(port.read(STATUS, 4), RUNNING);
      await bench.heal();
      await bench.end();
    });
  });
}
