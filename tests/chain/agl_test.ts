// SPDX-License-Identifier: Apache-2.0
// The chain over the AGL driver's ABI.
import { assertEquals, assertMatch } from "@std/assert";
import type { MemoryMode } from "../../lib/bridge/mod.ts";
import type { SoundSpec } from "../../lib/device/mod.ts";
import type { SoundGuest } from "../../lib/guest/mod.ts";
import { AGL_RELEASES, AglLoopback } from "../../lib/loopback/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { until } from "../support/process.ts";
import { RATE, writeNumbered } from "../real/numbered.ts";
import { AglMachine } from "./agl_machine.ts";
import { Chain } from "./chain.ts";
import { assertNumbered } from "./sounds.ts";

/** A card on an AGL node, bound by its driver. */
async function attach(
  memory: MemoryMode,
  spec: (chain: Chain) => SoundSpec,
  body: (chain: Chain, machine: AglMachine, guest: SoundGuest) => Promise<void>,
): Promise<void> {
  await withoutLeaks(async () => {
    await using machine = await AglMachine.boot();
    {
      await using chain = await Chain.create({
        loopbacks: {
          check: () => {},
          checkUnopened: () => {},
          open: (_name, mode) =>
            Promise.resolve(
              AglLoopback.open(machine, AGL_RELEASES["multi-sound"]!, {
                memory: mode,
                ram: machine.ram,
              }),
            ),
        },
      });
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
  });
}

const PERIODS = { periodFrames: 480, periods: 4 };

Deno.test("a card on an AGL node plays with isolated memory, life after life of its back-end", async () => {
  const specOf = (chain: Chain): SoundSpec => {
    const sinks = [`wav:${chain.file("out")},append`];
    return { class: "sound", socket: chain.file("socket"), sinks };
  };
  await attach("isolated", specOf, async (chain, machine, guest) => {
    writeNumbered(chain.file("in"), RATE);
    const playing = guest.play({ file: chain.file("in"), ...PERIODS });
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
  const specOf = (chain: Chain): SoundSpec => {
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
      await guest.play({ file: chain.file("in"), ...PERIODS });
      assertNumbered(chain.file("out"), 4321);
      await guest.reset();
      await guest.probe();
    }
    assertEquals(machine.calls.filter((call) => call.startsWith("mmap window")), []);
    const since = chain.events.length;
    await chain.endDevices();
    await chain.event("lost", since);
    await chain.device(specOf(chain));
    await chain.said("Cannot give the driver's memory to another back-end", since);
    assertMatch(
      chain.report(since),
      /loopback-238 allows 1 with direct memory until the machine is restarted \(isolated memory has no such limit\)/,
    );
    assertEquals((await guest.measureAccess(5)).length, 5);
    await guest.reset();
  });
});
