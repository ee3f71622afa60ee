// SPDX-License-Identifier: Apache-2.0
// The chain over the AGL driver's ABI.
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import type { BridgeEvent, BridgeOptions, MemoryMode } from "../../../lib/bridge/mod.ts";
import type { DeviceSpec } from "./chain.ts";
import { sound } from "../../../lib/classes/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import { AGL_RELEASES, AglLoopback } from "../../../lib/loopback/mod.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { LocalStore } from "../../support/store.ts";
import { TempFolder, until } from "../../support/process.ts";
import { RATE, writeNumbered } from "../real/numbered.ts";
import { AglMachine } from "./agl_machine.ts";
import { WholeChain } from "./chain.ts";
import { assertNumbered } from "./sounds.ts";

/** A card on an AGL node, bound by its driver. */
async function attach(
  memory: MemoryMode,
  spec: (chain: WholeChain) => DeviceSpec,
  body: (chain: WholeChain, machine: AglMachine, guest: Guest<typeof sound>) => Promise<void>,
): Promise<void> {
  await withoutLeaks(async () => {
    await using machine = await AglMachine.boot();
    await using place = await StorePlace.create(machine);
    let events: BridgeEvent[];
    {
      await using chain = await WholeChain.create({
        loopbacks: loopbacksOf(machine),
        store: place.store.options,
      });
      events = chain.events;
      chain.add({ class: "sound", memory, loopback: machine.name });
      await chain.bridge.ready();
      assertEquals(machine.calls, []); // the node is not opened before a back-end has answered
      await chain.device(spec(chain));
      await chain.event("started");
      const guest = await chain.soundGuest(machine);
      await guest.probe();
      await body(chain, machine, guest);
      assertEquals(machine.closed, false);
      const started = machine.calls.filter((call) => call === "START_LOOPBACK");
      assertEquals(started.length, 1);
    }
    assertEquals(machine.closed, true);
    // Kept by default, by what ran before the node was open.
    assertEquals(place.callsAtStart, [[]]);
    const { kind, text } = events.at(-1)!;
    assertEquals([kind, text], [
      "kept",
      `${machine.name} stays open, held by the store process ${Deno.pid} at ${place.path}: ` +
      `start viola with it again to continue ("viola forget ${machine.name}" releases it)`,
    ]);
  });
}

/** How a bridge opens the machine's node. */
function loopbacksOf(machine: AglMachine): NonNullable<BridgeOptions["loopbacks"]> {
  const abi = AGL_RELEASES["multi-sound"]!;
  return {
    check: () => {},
    checkUnopened: () => {},
    open: (_name, memory) =>
      Promise.resolve(AglLoopback.open(machine, abi, { memory, ram: machine.ram })),
  };
}

/** A store, and what was done to the machine's node before each start of it. */
class StorePlace implements AsyncDisposable {
  readonly callsAtStart: string[][] = [];
  readonly store: LocalStore;

  private constructor(
    machine: AglMachine,
    readonly folder: TempFolder,
    readonly reactor: Reactor,
  ) {
    const onStart = (): void => void this.callsAtStart.push([...machine.calls]);
    this.store = new LocalStore(this.path, reactor, onStart);
  }

  static async create(machine: AglMachine): Promise<StorePlace> {
    return new StorePlace(machine, await TempFolder.create(), new Reactor());
  }

  get path(): string {
    return this.folder.file("store");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.store[Symbol.dispose]();
    await this.reactor.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

Deno.test("an AGL node is not opened when nothing could keep it, unless it need not be kept", async () => {
  await withoutLeaks(async () => {
    await using machine = await AglMachine.boot();
    await using folder = await TempFolder.create();
    const store = {
      path: folder.file("store"),
      start: (path: string) => {
        throw new Error(`no store at ${path}`);
      },
    };
    await using chain = await WholeChain.create({ loopbacks: loopbacksOf(machine), store });
    await chain.device({ class: "rng", socket: chain.file("socket") });
    const device = chain.add({ class: "rng", loopback: machine.name });
    await assertRejects(
      () => device.done,
      Error,
      `Cannot open ${machine.name}: no descriptor store to keep it in when viola ends: `,
    );
    assertEquals(machine.calls, []);
    const since = chain.events.length;
    const unkept = chain.add({ class: "rng", loopback: machine.name, keep: false });
    await chain.event("started", since);
    await unkept.close();
    assert(machine.closed);
    assert(!chain.events.some(({ kind }) => kind === "kept"));
  });
});

const PERIODS = { periodFrames: 480, periods: 4 };

Deno.test("a card on an AGL node plays with isolated memory, life after life of its back-end", async () => {
  const specOf = (chain: WholeChain): DeviceSpec => {
    const sinks = [`wav:${chain.file("out")},append`];
    return { class: "sound", socket: chain.file("socket"), sinks };
  };
  await attach("isolated", specOf, async (chain, machine, guest) => {
    writeNumbered(chain.file("in"), RATE);
    const playing = guest.call("play", { file: chain.file("in"), ...PERIODS });
    await until(() => guest.progress.position > RATE / 8, "some of it to be heard");
    await chain.endDevices();
    await chain.device(specOf(chain));
    const { frames, ioErrors } = await playing;
    assertEquals({ frames, ioErrors }, { frames: RATE, ioErrors: 0 });
    assertNumbered(chain.file("out"), RATE);
    await chain.event("resumed");
    // The windows are mapped once, by viola.
    assertEquals(machine.calls.filter((call) => call.startsWith("mmap window")).length, 2);
  });
});

Deno.test("a card on an AGL node plays with direct memory, and a second back-end is refused it in words", async () => {
  const specOf = (chain: WholeChain): DeviceSpec => {
    return {
      class: "sound",
      socket: chain.file("socket"),
      sinks: [`wav:${chain.file("out")}`],
      pace: "free",
    };
  };
  await attach("direct", specOf, async (chain, machine, guest) => {
    writeNumbered(chain.file("in"), 4321);
    for (let i = 0; i < 2; i++) {
      // The one back-end serves one life of the driver after the other.
      await guest.call("play", { file: chain.file("in"), ...PERIODS });
      assertNumbered(chain.file("out"), 4321);
      await guest.reset();
      await guest.probe();
    }
    assertEquals(machine.calls.filter((call) => call.startsWith("mmap window")), []);
    const since = chain.events.length;
    await chain.endDevices();
    await chain.event("lost", since);
    await chain.device(specOf(chain));
    await chain.said("Cannot share the driver's memory with another back-end", since);
    assertMatch(
      chain.report(since),
      /loopback-238 allows 1 with direct memory until the machine is restarted \(isolated memory has no such limit\)/,
    );
    assertEquals((await guest.measureAccess(5)).length, 5);
    await guest.reset();
  });
});
