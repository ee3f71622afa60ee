// SPDX-License-Identifier: Apache-2.0
// Drivers that let the device go, in every state, and bind it again.
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { DeviceSpec } from "./chain.ts";
import { sound } from "../../../lib/classes/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import { protocolFeatures } from "../../../lib/vhost_user/messages.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { RATE, writeNumbered } from "../real/numbered.ts";
import { MODES, WholeChain } from "./chain.ts";
import { Proxy, without } from "./proxy.ts";
import { assertNumbered } from "./sounds.ts";

const PERIODS = { periodFrames: 480, periods: 4 };

/** How a driver lets go, by whether it plays meanwhile. */
const ENDINGS: Record<string, (guest: Guest<typeof sound>, file: string) => Promise<unknown>> = {
  "reset, idle": (guest) => guest.reset(),
  "unbound, idle": (guest) => guest.unbind(),
  "reset in mid-play": (guest, file) => duringPlay(guest, file, () => guest.reset()),
  "unbound in mid-play": (guest, file) => duringPlay(guest, file, () => guest.unbind()),
  "reset twice": async (guest) => {
    await guest.reset();
    await guest.reset();
  },
};

/** Begins to play, and does something when the first periods were heard. */
async function duringPlay(
  guest: Guest<typeof sound>,
  file: string,
  action: () => Promise<void>,
): Promise<void> {
  const playing = guest.call("play", { file, ...PERIODS }).catch(() => null);
  await until(() => guest.progress.position > 0, "the first period to be heard");
  await action();
  const result = await playing;
  // One that was reset was dropped; one that was unbound was stopped in order.
  assert(result === null || result.stopped);
}

/** A back-end that can be reset by a message, and one that cannot. */
const BACK_ENDS = [
  { resets: true, name: "by RESET_DEVICE" },
  { resets: false, name: "without it" },
];

for (const { memory, mmioVersion } of MODES) {
  for (const { resets, name } of BACK_ENDS) {
    if (!resets && mmioVersion === 2) continue;
    Deno.test(`a card is unbound and bound again, ${name}, ${memory}, mmio ${mmioVersion}`, async () => {
      await withoutLeaks(async () => {
        await using chain = await WholeChain.create();
        const [long, short, output] = ["long", "short", "out"].map((file) => chain.file(file));
        writeNumbered(long!, 20 * RATE);
        writeNumbered(short!, 4321);
        const socket = chain.file("socket");
        const target = resets ? socket : chain.file("device");
        await chain.device({ class: "sound", socket: target, sinks: [`wav:${output}`] });
        const proxy = resets ? null : chain.use(
          new Proxy(chain.reactor, socket, target, without(protocolFeatures("RESET_DEVICE"))),
        );
        const node = chain.node("node");
        chain.add({ class: "sound", memory, mmioVersion });
        const guest = await chain.soundGuest(node);
        for (const [ending, end] of Object.entries(ENDINGS)) {
          for (let i = 0; i < 2; i++) {
            await guest.probe();
            await end(guest, long!);
            await assertRejects(
              () => guest.call("play", { file: short! }),
              Error,
              "not bound",
              ending,
            );
          }
        }
        await guest.probe();
        const { frames, ioErrors } = await guest.call("play", { file: short!, ...PERIODS });
        assertEquals({ frames, ioErrors }, { frames: 4321, ioErrors: 0 });
        assertNumbered(output!, 4321);
        const kinds = chain.events.map(({ kind }) => kind);
        assertEquals(kinds.filter((kind) => kind === "error" || kind === "resumed"), []);
        const count = 2 * Object.keys(ENDINGS).length;
        assertEquals(kinds.filter((kind) => kind === "running").length, count + 1, chain.report());
        assertEquals(kinds.filter((kind) => kind === "reset").length, count, chain.report());
        // With rings of its own viola needs another connection only after a stream was left running.
        const connections = memory === "direct" ? count + 1 : 3;
        if (proxy !== null) assertEquals(proxy.connections, connections);
      });
    });
  }

  Deno.test(`a card is reset while its back-end is away, ${memory}, mmio ${mmioVersion}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const [long, short, output] = ["long", "short", "out"].map((file) => chain.file(file));
      writeNumbered(long!, 20 * RATE);
      writeNumbered(short!, 4321);
      const sinks = [`wav:${output}`];
      const spec: DeviceSpec = { class: "sound", socket: chain.file("socket"), sinks };
      const first = await chain.device(spec);
      const node = chain.node("node");
      chain.add({ class: "sound", memory, mmioVersion });
      const guest = await chain.soundGuest(node);
      await guest.probe();
      await duringPlay(guest, long!, async () => {
        await first.close();
        await chain.event("lost");
        await guest.reset();
      });
      const since = chain.events.length;
      await chain.device(spec);
      await guest.probe();
      // What it knows of a back-end that is new is that its life is the driver's first with it.
      await chain.event("running", since);
      await guest.call("play", { file: short!, ...PERIODS });
      assertNumbered(output!, 4321);
      assertEquals(chain.events.filter(({ kind }) => kind === "resumed"), []);
    });
  });
}
