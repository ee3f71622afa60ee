// SPDX-License-Identifier: Apache-2.0
// The thread that reads and writes a card's files.
import { assert, assertEquals } from "@std/assert";
import {
  type StartFileThread,
  startFileThread,
} from "../../../../lib/classes/sound/file_thread.ts";
import * as snd from "../../../../lib/classes/sound/wire.ts";
import { Card, noise } from "../../../classes/sound/card.ts";
import {
  PERIOD,
  S_OK,
  samplesOf,
  statuses,
  withFolder,
} from "../../../classes/sound/device_fixture.ts";

/** A card with the device's own thread, or that of another script. */
function cardWith(sinks: string[], sources: string[], script?: URL): Card {
  const start: StartFileThread = (links, host, onDone) =>
    startFileThread(links, host, onDone, script);
  return new Card({ sinks, sources }, { files: { start } });
}

/** Sends a request that waits for the thread. @returns its status */
function ask(card: Card, code: number, stream: number): number {
  const queue = card.wiring.queues[snd.VQ_CONTROL]!;
  const words = new Uint8Array(Uint32Array.of(code, stream).buffer);
  const [at] = card.wiring.offer(snd.VQ_CONTROL, 0, [words], [4]);
  while (queue.take() === null) assert(card.dispatch(30_000));
  return new DataView(card.wiring.buffer).getUint32(at!, true);
}

Deno.test("files are written and read by a thread, to the last sample", () => {
  withFolder((folder) => {
    const [path, copy] = [`${folder}/out.wav`, `${folder}/copy.wav`];
    const sound = noise(100 * PERIOD);
    {
      using card = cardWith([`wav:${path}`], []);
      for (let life = 0; life < 3; life++) {
        card.prepare();
        assertEquals(ask(card, snd.R_PCM_START, 0), S_OK);
        for (let at = 0; at < sound.length; at += PERIOD) {
          card.play(sound.subarray(at, at + PERIOD));
          card.clock.pass(10);
          let done = card.done();
          for (; done.length === 0; done = card.done()) assert(card.dispatch(30_000));
          assertEquals(statuses(done), [S_OK]);
        }
        assertEquals(samplesOf(path), sound);
        card.control(snd.R_PCM_STOP, 0);
        card.control(snd.R_PCM_RELEASE, 0);
      }
      assertEquals(card.reported("error"), []);
    }
    Deno.copyFileSync(path, copy);
    using card = cardWith([], [`wav:${copy}`]);
    card.prepare();
    assertEquals(ask(card, snd.R_PCM_START, 0), S_OK);
    const heard: number[] = [];
    while (heard.length < sound.length) {
      card.capture(PERIOD);
      card.clock.pass(10);
      let done = card.done();
      for (; done.length === 0; done = card.done()) assert(card.dispatch(30_000));
      heard.push(...done[0]!.samples);
    }
    assertEquals(Uint8Array.from(heard), sound);
  });
});

Deno.test("while its disk waits the card plays on, and nothing is lost", () => {
  withFolder((folder) => {
    const [path, gate] = [`${folder}/out.wav`, `${folder}/gate`];
    new Deno.Command("mkfifo", { args: [gate] }).outputSync();
    const script = new URL(`./gated_file_worker.ts?gate=${gate}`, import.meta.url);
    const sound = noise(100 * PERIOD);
    {
      using card = cardWith([`wav:${path}`], [], script);
      card.prepare();
      assertEquals(ask(card, snd.R_PCM_START, 0), S_OK);
      for (let at = 0; at < sound.length; at += PERIOD) {
        card.play(sound.subarray(at, at + PERIOD));
        card.clock.pass(15); // half a period longer than there is, for a disk that may be slow
        assertEquals(statuses(card.done()), [S_OK]);
      }
      assertEquals(samplesOf(path).length, 0);
      card.control(snd.R_PCM_STOP, 0);
      card.control(snd.R_PCM_RELEASE, 0);
      Deno.openSync(gate, { write: true }).close();
    }
    assertEquals(samplesOf(path), sound);
  });
});
