// SPDX-License-Identifier: Apache-2.0
// Several cards at once, in one lane and in two; and both directions of one card at once.
import { assertEquals } from "@std/assert";
import type { MemoryMode } from "../../../lib/bridge/mod.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { RATE, writeNumbered } from "../real/numbered.ts";
import { WholeChain } from "./chain.ts";
import { Duplex } from "./duplex.ts";
import { assertNumbered, FORMAT } from "./sounds.ts";

/** Frames of a card's sound: a different number each. */
const lengthOf = (card: number): number => RATE + 777 * card;

const MEMORY: readonly MemoryMode[] = ["isolated", "direct"];

/** Two share a lane, at different priorities; the third has one of its own. */
const CARDS = [
  { name: "card0", lane: "shared", priority: 0, mmioVersion: 1, periodFrames: 960 },
  { name: "card1", lane: "shared", priority: 5, mmioVersion: 2, periodFrames: 480 },
  { name: "card2", lane: "own", priority: 0, mmioVersion: 2, periodFrames: 1000 },
] as const;

for (const memory of MEMORY) {
  Deno.test(`three cards in two lanes play at once, each its own sound, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const guests = await Promise.all(CARDS.map(async (card, i) => {
        const { name } = card;
        writeNumbered(chain.file(`${name}.in`), lengthOf(i));
        const sinks = [`wav:${chain.file(`${name}.out`)}`];
        await chain.device({ class: "sound", socket: chain.file(`${name}.socket`), sinks });
        const node = chain.node(`${name}.node`);
        const [socket, loopback] = [chain.file(`${name}.socket`), chain.loopback(`${name}.node`)];
        chain.add({ class: "sound", ...card, socket, loopback, memory });
        const guest = await chain.soundGuest(node, { name });
        await guest.probe();
        return guest;
      }));
      const playing = guests.map((guest, i) =>
        guest.call("play", { file: chain.file(`${CARDS[i]!.name}.in`), ...CARDS[i] })
      );
      const isPlaying = (): boolean => guests.every(({ progress }) => progress.state === "running");
      await until(isPlaying, "all cards to play at once");
      const results = await Promise.all(playing);
      results.forEach(({ frames, ioErrors }, i) => {
        assertEquals({ frames, ioErrors }, { frames: lengthOf(i), ioErrors: 0 });
        assertNumbered(chain.file(`${CARDS[i]!.name}.out`), lengthOf(i));
      });
      assertEquals(chain.events.filter(({ kind }) => kind === "error"), []);
    });
  });

  Deno.test(`what is captured is the source's file, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const [input, output] = [chain.file("in"), chain.file("out")];
      const frames = 4321;
      writeNumbered(input, frames);
      const sources = [`wav:${input}`];
      await chain.device({ class: "sound", socket: chain.file("socket"), sources, pace: "free" });
      const node = chain.node("node");
      chain.add({ class: "sound", memory });
      const guest = await chain.soundGuest(node);
      await guest.probe();
      // Twice: a source begins anew with each stream.
      for (const periodFrames of [480, 333]) {
        const result = await guest.call("capture", {
          file: output,
          frames,
          format: FORMAT,
          periodFrames,
        });
        assertEquals([result.frames, result.ioErrors], [frames, 0]);
        assertNumbered(output, frames);
      }
    });
  });

  Deno.test(`one card plays and captures at once, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const [played, source, heard, recorded] = ["played", "source", "heard", "recorded"].map((
        name,
      ) => chain.file(name));
      writeNumbered(played!, RATE / 2);
      writeNumbered(source!, RATE / 4);
      await chain.device({
        class: "sound",
        socket: chain.file("socket"),
        sinks: [`wav:${heard}`],
        sources: [`wav:${source}`],
      });
      const node = chain.node("node");
      chain.add({ class: "sound", memory, mmioVersion: 2 });
      const duplex = chain.useGuest(await Duplex.start(node.wires));
      await duplex.run({ play: played!, record: recorded!, frames: RATE / 4, format: FORMAT });
      assertNumbered(heard!, RATE / 2);
      assertNumbered(recorded!, RATE / 4);
    });
  });
}
