// SPDX-License-Identifier: Apache-2.0
// Disks that sleep, or are too slow for good: the card keeps its time.
import { assert, assertEquals } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { WavWriter } from "../../../lib/wav/mod.ts";
import { bytes, fmtOf } from "../../wav/files.ts";
import { Card, noise } from "./card.ts";
import { PERIOD, S_IO_ERR, S_OK, samplesOf, statuses, withFolder } from "./device_fixture.ts";
import { TestFiles } from "./test_files.ts";

const FORMAT = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 } as const;

/** Plays periods of 10 ms, a new one for each that is returned. @returns the statuses */
function play(card: Card, sound: Uint8Array, ahead = 4): number[] {
  const all: number[] = [];
  let next = 0;
  const offer = (): void => {
    if (next >= sound.length) return;
    card.play(sound.subarray(next, next + PERIOD));
    next += PERIOD;
  };
  for (let i = 0; i < ahead; i++) offer();
  while (all.length < sound.length / PERIOD) {
    card.clock.pass(2);
    for (const { status } of card.done()) {
      all.push(status);
      offer();
    }
  }
  return all;
}

Deno.test("a disk that sleeps for 300 ms: a buffer waits for it as long as the driver has others here", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    const files = new TestFiles();
    using card = new Card({ sinks: [`wav:${path}`] }, { files });
    // As aplay does: half a second in four periods.
    const big = 24_000;
    card.prepare({ periodBytes: big, bufferBytes: 4 * big });
    const sound = noise(5 * big);
    for (let i = 0; i < 4; i++) card.play(sound.subarray(i * big, (i + 1) * big));
    card.control(snd.R_PCM_START, 0);
    files.isAsleep = true;
    card.clock.pass(124.9 + 300);
    assertEquals(card.done(), []);
    assertEquals(samplesOf(path).length, 0);
    files.isAsleep = false;
    files.work();
    // All that are due are returned, each in the file; the next keeps its time.
    assertEquals(statuses(card.done()), [S_OK, S_OK, S_OK]);
    assertEquals(samplesOf(path), sound.subarray(0, 3 * big));
    card.play(sound.subarray(4 * big));
    card.clock.pass(75.2);
    assertEquals(statuses(card.done()), [S_OK]);
    card.clock.pass(125);
    assertEquals(statuses(card.done()), [S_OK]);
    assertEquals(samplesOf(path), sound);
    assertEquals([...card.reported("xrun"), ...card.reported("error")], []);
  });
});

Deno.test("a disk that sleeps for longer: buffers are returned half a period before the driver has none here, and nothing is lost", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    const files = new TestFiles();
    using card = new Card({ sinks: [`wav:${path}`] }, { files });
    card.prepare();
    const sound = noise(100 * PERIOD);
    for (let i = 0; i < 4; i++) card.play(sound.subarray(i * PERIOD, (i + 1) * PERIOD));
    card.control(snd.R_PCM_START, 0);
    files.isAsleep = true;
    card.clock.pass(34.9);
    assertEquals(card.done(), []);
    card.clock.pass(0.2);
    assertEquals(statuses(card.done()), [S_OK, S_OK, S_OK]);
    assertEquals(samplesOf(path).length, 0);
    assertEquals(new Set(play(card, sound.subarray(4 * PERIOD))), new Set([S_OK]));
    while (card.done().length === 0) card.clock.pass(1);
    // As many of them are in the file as its header counts, after every step of the disk.
    let before = 0;
    while (files.work(1) > 0) {
      const written = samplesOf(path);
      assertEquals(written, sound.subarray(0, written.length));
      assert(written.length > before);
      before = written.length;
    }
    assertEquals(before, sound.length);
    assertEquals([...card.reported("xrun"), ...card.reported("error")], []);
  });
});

Deno.test("a disk too slow for good: an error and an xrun, once, and the stream goes on in its time", () => {
  withFolder((folder) => {
    const paths = [`${folder}/slow.wav`, `${folder}/other.wav`] as const;
    const files = new TestFiles();
    using card = new Card({ sinks: [`wav:${paths[0]}`, "null"] }, { files });
    card.offerEvents(4);
    card.prepare();
    card.prepare({ streamId: 1 });
    card.control(snd.R_PCM_START, 0);
    card.control(snd.R_PCM_START, 1);
    files.isAsleep = true;
    // The ring has room for more than four seconds.
    const kept = Math.floor(2 ** 20 / PERIOD);
    const sound = noise((kept + 10) * PERIOD);
    const start = card.clock.time;
    const all = play(card, sound);
    assertEquals(all, [...new Array(kept).fill(S_OK), ...new Array(10).fill(S_IO_ERR)]);
    assertEquals(Math.ceil((card.clock.time - start) / 1e7), kept + 10);
    assertEquals(card.reported("error").map(({ text }) => text), [
      `Cannot write ${paths[0]}: its disk is too slow, and samples are lost until it has caught up`,
    ]);
    assertEquals([card.reported("xrun").length, card.takeEvents()], [1, [[snd.EVT_PCM_XRUN, 0]]]);
    files.isAsleep = false;
    files.work();
    const more = noise(3 * PERIOD);
    assertEquals(play(card, more), [S_OK, S_OK, S_OK]);
    assertEquals(
      samplesOf(paths[0]),
      new Uint8Array([...sound.subarray(0, kept * PERIOD), ...more]),
    );
    card.control(snd.R_PCM_STOP, 0);
    card.control(snd.R_PCM_RELEASE, 0);
  });
});

Deno.test("a source is read ahead: it plays on while its disk sleeps, then it has an error and an xrun", () => {
  withFolder((folder) => {
    const path = `${folder}/in.wav`;
    const sound = noise(6 * 2 ** 18);
    {
      using writer = WavWriter.create(path, FORMAT);
      writer.write(sound);
      writer.commit();
    }
    const files = new TestFiles();
    using card = new Card({ sinks: [], sources: [`wav:${path}`] }, { files });
    card.prepare();
    card.control(snd.R_PCM_START, 0);
    files.isAsleep = true;
    const heard: number[] = [];
    /** Captures a period. @returns its status */
    const next = (): number => {
      card.capture(PERIOD);
      for (;;) {
        card.clock.pass(5);
        const [done] = card.done();
        if (done === undefined) continue;
        heard.push(...done.samples);
        return done.status;
      }
    };
    const ahead = Math.floor(2 ** 20 / PERIOD);
    for (let i = 0; i < ahead; i++) assertEquals(next(), S_OK);
    assertEquals([next(), next()], [S_IO_ERR, S_IO_ERR]);
    assertEquals(card.reported("error").map(({ text }) => text), [
      "Cannot capture stream 0: the disk of its file is too slow, and has no samples in time",
    ]);
    assert(card.reported("xrun").length > 0);
    files.isAsleep = false;
    files.work();
    while (heard.length < sound.length) assertEquals(next(), S_OK);
    assertEquals(Uint8Array.from(heard).subarray(0, sound.length), sound);
    // Then silence.
    assertEquals(next(), S_OK);
    assertEquals(new Set(heard.slice(sound.length)), new Set([0]));
  });
});

Deno.test("START waits for its file to be opened, and what follows waits for START; other streams play on", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    const files = new TestFiles();
    using card = new Card({ sinks: [`wav:${path}`, "null"] }, { files });
    card.prepare();
    card.prepare({ streamId: 1 });
    card.control(snd.R_PCM_START, 1);
    card.play(noise(PERIOD), 1);
    files.isAsleep = true;
    const sound = noise(PERIOD);
    card.play(sound);
    const queue = card.wiring.queues[snd.VQ_CONTROL]!;
    const ask = (code: number, stream: number): void => {
      const words = new Uint8Array(Uint32Array.of(code, stream).buffer);
      card.wiring.offer(snd.VQ_CONTROL, code, [words], [4]);
    };
    ask(snd.R_PCM_START, 0);
    ask(snd.R_PCM_STOP, 1);
    assertEquals(queue.take(), null);
    card.clock.pass(10);
    assertEquals(card.done().map(({ id }) => id), [1]);
    files.work();
    assertEquals([queue.take()?.token, queue.take()?.token], [snd.R_PCM_START, snd.R_PCM_STOP]);
    files.isAsleep = false;
    card.clock.pass(10);
    assertEquals(statuses(card.done()), [S_OK]);
    assertEquals(samplesOf(path), sound);
  });
});

Deno.test("START fails when its file is not opened in time; the next finds it closed, and opens it again", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    const files = new TestFiles();
    using card = new Card({ sinks: [`wav:${path}`] }, { files });
    card.prepare();
    files.isAsleep = true;
    const queue = card.wiring.queues[snd.VQ_CONTROL]!;
    const start = (token: number): number => {
      const words = new Uint8Array(Uint32Array.of(snd.R_PCM_START, 0).buffer);
      return card.wiring.offer(snd.VQ_CONTROL, token, [words], [4])[0]!;
    };
    const status = (at: number) => new DataView(card.wiring.buffer).getUint32(at, true);
    const first = start(1);
    card.clock.pass(899);
    assertEquals(queue.take(), null);
    card.clock.pass(2);
    assertEquals([queue.take()?.token, status(first)], [1, S_IO_ERR]);
    const slow = `Cannot open ${path}: its disk has not answered for 0.9 s`;
    assertEquals(card.reported("error").map(({ text }) => text), [slow]);
    const second = start(2);
    card.clock.pass(100);
    files.work();
    assertEquals([queue.take()?.token, status(second)], [2, S_OK]);
    files.isAsleep = false;
    const sound = noise(PERIOD);
    assertEquals(play(card, sound), [S_OK]);
    assertEquals(samplesOf(path), sound);
  });
});

Deno.test("requests that wait are answered when their queue stops, and forgotten when it is abandoned", () => {
  for (const abandoned of [false, true]) {
    withFolder((folder) => {
      const files = new TestFiles(true);
      using card = new Card({ sinks: [`wav:${folder}/out.wav`] }, { files });
      card.prepare();
      const words = new Uint8Array(Uint32Array.of(snd.R_PCM_START, 0).buffer);
      const [at] = card.wiring.offer(snd.VQ_CONTROL, 1, [words], [4]);
      card.device.stopRing(snd.VQ_CONTROL, abandoned);
      const used = card.wiring.queues[snd.VQ_CONTROL]!.take();
      assertEquals(used?.token, abandoned ? undefined : 1);
      if (abandoned) return;
      assertEquals(new DataView(card.wiring.buffer).getUint32(at!, true), S_IO_ERR);
    });
  }
});

Deno.test("an error while writing: the buffer that was not written has IO_ERR, said once", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    // Such a header has no room for the size of a longer file.
    const before = 2 ** 32 - 2 * 4096 - 4 * PERIOD;
    const header = bytes("RIFF", 36 + before, "WAVE", fmtOf(1, 2, 4, 16), "data", before);
    Deno.writeFileSync(path, header);
    Deno.truncateSync(path, header.length + before);
    using card = new Card({ sinks: [`wav:${path},append`] });
    card.prepare({ rate: 1 });
    assertEquals(card.control(snd.R_PCM_START, 0), S_OK, card.events.at(-1)!.text);
    const all = play(card, noise(8 * PERIOD));
    assertEquals(all.slice(0, 3), [S_OK, S_OK, S_OK]);
    assertEquals(all.slice(3), new Array(5).fill(S_IO_ERR));
    assertEquals(card.reported("error").map(({ text }) => text), [
      `Cannot write ${path}: it is full: without room for a ds64 chunk in its header it holds at most 4 GiB`,
    ]);
  });
});
