// SPDX-License-Identifier: Apache-2.0
// The device process dies at any moment, twenty times in one playback, and nothing is lost.
import { assert, assertEquals } from "@std/assert";
import type { Bridge } from "../../../lib/bridge/mod.ts";
import type { sound } from "../../../lib/classes/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import { attach } from "../../support/attachment.ts";
import { socketsIn, withoutLeaks } from "../../support/leaks.ts";
import { TempFolder } from "../../support/process.ts";
import { type Draws, seeded } from "../../support/random.ts";
import { numbersOf, RATE, readNumbered, writeNumbered } from "../real/numbered.ts";
import { coverageOf } from "./coverage.ts";
import { DeviceProcess } from "./device_process.ts";

/** In pairs: at a random frame, then at a random moment of the restart or soon after it. */
const KILLS = 20;
const SECONDS = 8;
/** Frames in which the first of a pair falls: the second is in the playback too, however slow the machine. */
const KILLED_FRAMES = (SECONDS - 1) * RATE;
const SOON_MS = 300;
const PERIOD_FRAMES = 960;
const PERIODS = 8;

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function randomFrames(draws: Draws, count: number): number[] {
  const frames = Array.from({ length: count }, () => draws.number(KILLED_FRAMES));
  return frames.sort((a, b) => a - b);
}

/** Kills a device at random moments of a playback. @returns how many frames had come back at each kill */
async function killRandomly(
  device: DeviceProcess,
  guest: Guest<typeof sound>,
  playing: Promise<unknown>,
): Promise<number[]> {
  const draws = seeded();
  const kills: number[] = [];
  let hasEnded = false;
  playing.catch(() => {}).finally(() => hasEnded = true);
  const kill = async () => {
    kills.push(guest.progress.position);
    await device.killAndRestart();
  };
  for (const frame of randomFrames(draws, KILLS / 2)) {
    while (guest.progress.position < frame && !hasEnded) await delay(1);
    await delay(draws.number(1000 * PERIOD_FRAMES / RATE)); // Anywhere in a period.
    await kill();
    await delay(draws.number(SOON_MS));
    await kill();
  }
  return kills;
}

/** Checks the recording: nothing is missing, and only what was in flight may be heard twice. @returns what was found */
function judge(output: string, bridge: Bridge): string {
  const [counters] = bridge.counters() as { losses: number; queues: { resubmitted: number }[] }[];
  const resubmitted = counters!.queues[2]!.resubmitted;
  const found = coverageOf(numbersOf(readNumbered(output)), SECONDS * RATE);
  assertEquals(found.missing.slice(0, 10), []);
  assert(found.jumpsBack <= KILLS, `${found.jumpsBack} repeats after ${KILLS} kills`);
  // The bridge counted what was in flight; it is at most the driver's whole buffer.
  assert(found.repeated <= resubmitted * PERIOD_FRAMES, `${found.repeated} frames twice`);
  assert(resubmitted <= KILLS * PERIODS, `${resubmitted} periods offered again`);
  return `${counters!.losses} losses, ${resubmitted} periods in flight offered again, ` +
    `${found.repeated} frames heard twice in ${found.jumpsBack} places`;
}

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`a sound device killed ${KILLS} times in one playback loses nothing, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      const [input, output, socket] = ["in.wav", "out.wav", "card"].map((name) =>
        folder.file(name)
      );
      writeNumbered(input!, SECONDS * RATE);
      {
        await using device = DeviceProcess.start([
          ...["sound", "--socket", socket!, "--sink", `wav:${output},append`],
        ]);
        await using attachment = await attach({ kind: "sound", socket: socket!, memory });
        const { guest, bridge, events } = attachment;
        const buffer = { periodFrames: PERIOD_FRAMES, periods: PERIODS };
        const playing = guest.call("play", { file: input!, ...buffer });
        const [result, kills] = await Promise.all([playing, killRandomly(device, guest, playing)]);
        assertEquals(result.ioErrors, 0);
        assertEquals(result.frames, SECONDS * RATE, events.map(({ text }) => text).join("\n"));
        assert(kills.every((position) => position < SECONDS * RATE), `played out: ${kills}`);
        const found = judge(output!, bridge);
        // deno-lint-ignore no-console -- the report that this test is for
        console.log(`${memory}: ${kills.length} kills, ${found}`);
      }
      assertEquals(socketsIn(folder.path), []);
    });
  });
}
