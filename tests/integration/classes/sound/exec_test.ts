// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import * as snd from "../../../../lib/classes/sound/wire.ts";
import { variablesOf } from "../../../../lib/classes/sound/names.ts";
import { childrenOf } from "../../../support/process.ts";
import { bytes, readAll } from "../../../wav/files.ts";
import { Card, GRACE_MS, noise, PARAMS } from "../../../classes/sound/card.ts";

const { S_OK, S_IO_ERR } = snd;
const PERIOD = PARAMS.periodBytes;

function withFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function playAll(card: Card, sound: Uint8Array, piece = PERIOD): number[] {
  card.prepare({ bufferBytes: Math.max(PARAMS.bufferBytes, piece) });
  card.control(snd.R_PCM_START, 0);
  const statuses: number[] = [];
  for (let at = 0; at < sound.length; at += piece) {
    card.play(sound.subarray(at, at + piece));
    const done = card.done();
    for (let tries = 0; done.length === 0; tries++) {
      assert(tries < 1000 && card.dispatch(), "the command takes no samples");
      done.push(...card.done());
    }
    statuses.push(...done.map(({ status }) => status));
  }
  card.control(snd.R_PCM_STOP, 0);
  card.control(snd.R_PCM_RELEASE, 0);
  return statuses;
}

Deno.test("exec: a command gets every sample, also when it is slower than the driver", () => {
  withFolder((folder) => {
    const path = `${folder}/out.raw`;
    const sound = noise(2 ** 20);
    {
      using card = new Card({ sinks: [`exec:sleep 0.2; cat > ${path}`], pace: "free" });
      assertEquals(playAll(card, sound, 2 ** 16), new Array(16).fill(S_OK));
      card.finish();
    }
    assertEquals(Deno.readFileSync(path), sound);
  });
});

Deno.test("exec: a command knows what it gets: sox makes the file that wav: would have made", () => {
  withFolder((folder) => {
    const sound = noise(10 * PERIOD);
    const command = `env > ${folder}/env; sox -t raw -r $RATE -c $CHANNELS -b $BITS -e signed - ` +
      `${folder}/out.wav`;
    {
      using card = new Card({ sinks: [`exec:${command}`], pace: "free" });
      playAll(card, sound);
      card.finish();
    }
    assertEquals(Deno.readFileSync(`${folder}/out.wav`).subarray(44), sound);
    const env = Deno.readTextFileSync(`${folder}/env`).split("\n");
    for (
      const line of [
        "RATE=48000",
        "CHANNELS=2",
        "BITS=16",
        "FORMAT=S16_LE",
        "PW_FORMAT=s16",
        "SOX_FORMAT=s16",
        "FFMPEG_FORMAT=s16le",
      ]
    ) {
      assert(env.includes(line), line);
    }
  });
});

Deno.test("exec: while the pipe is full the stream waits, and its latency is that of the bytes in the pipe", () => {
  using card = new Card({ sinks: ["exec:sleep 60"] });
  card.prepare();
  card.control(snd.R_PCM_START, 0);
  const sound = noise(PERIOD);
  const done = [];
  for (let i = 0; i < 50; i++) {
    card.play(sound);
    card.clock.pass(10);
    done.push(...card.done());
  }
  // A pipe holds 16 pages; how full it makes them is its affair.
  assert(done.length >= 16 && done.length < 35, `${done.length}`);
  assertEquals(done.map(({ latency }) => latency), done.map((_, i) => (i + 1) * PERIOD));
  assertEquals(card.control(snd.R_PCM_STOP, 0), S_OK);
  assertEquals(card.control(snd.R_PCM_RELEASE, 0), S_OK);
  assertEquals(card.done().length, 50 - done.length);
});

for (const pace of ["real", "free"] as const) {
  Deno.test(`exec: a command that takes nothing for 2 s: IO_ERR, said once (pace ${pace})`, () => {
    using card = new Card({ sinks: ["exec:sleep 60"], pace });
    const big = 40 * PERIOD;
    card.prepare({ bufferBytes: big });
    card.control(snd.R_PCM_START, 0);
    const id = card.play(noise(big));
    if (pace === "real") card.clock.pass(400);
    // What it could take it took; the rest waits.
    card.clock.pass(1999);
    assertEquals(card.done(), []);
    card.clock.pass(1);
    assertEquals(card.done().map((done) => [done.id, done.status]), [[id, S_IO_ERR]]);
    // From then on at the stream's pace, without another wait.
    for (let i = 0; i < 5; i++) {
      card.play(noise(PERIOD));
      card.clock.pass(10);
      assertEquals(card.done().map(({ status }) => status), [S_IO_ERR]);
    }
    assertEquals(card.reported("error").map(({ text }) => text), [
      "Cannot play stream 0: the sink has taken no samples for 2 s",
    ]);
  });
}

Deno.test("exec: a wait for the pipe moves the clock by as much, and is no xrun", () => {
  withFolder((folder) => {
    const gate = `${folder}/gate`;
    new Deno.Command("mkfifo", { args: [gate] }).outputSync();
    // The shell opens the gate for reading only when the test opens it for writing.
    using card = new Card({ sinks: [`exec:read line < ${gate}; cat > /dev/null`] });
    card.prepare({ bufferBytes: 50 * PERIOD });
    for (let i = 0; i < 40; i++) card.play(noise(PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(1000);
    assert(card.done().length < 35);
    Deno.writeTextFileSync(gate, "go\n");
    while (card.done().length === 0) assert(card.dispatch());
    // From the moment it went on, the rest takes its time.
    assertEquals(card.clock.alarm - card.clock.time, 10e6);
    card.clock.pass(50);
    assertEquals(card.done().length, 5);
    assertEquals(card.reported("xrun"), []);
  });
});

Deno.test("exec: a command that ended: IO_ERR at the stream's pace, said once, and the next playback is tried", () => {
  withFolder((folder) => {
    const path = `${folder}/count`;
    using card = new Card({
      sinks: [`exec:echo x >> ${path}; head -c ${PERIOD} > /dev/null; exit 7`],
    });
    for (let life = 1; life <= 2; life++) {
      card.prepare();
      card.control(snd.R_PCM_START, 0);
      const statuses: number[] = [];
      for (let i = 0; i < 300 && statuses.at(-1) !== S_IO_ERR; i++) {
        card.play(noise(PERIOD));
        card.clock.pass(10);
        statuses.push(...card.done().map(({ status }) => status));
        card.dispatch(10);
      }
      card.play(noise(PERIOD));
      card.clock.pass(9);
      assertEquals(card.done(), []);
      card.clock.pass(1);
      assertEquals(card.done().map(({ status }) => status), [S_IO_ERR]);
      assertEquals(card.reported("error").length, life);
      assert(
        /"echo x .*" any more: it ended with status 7|EPIPE/.test(card.reported("error")[0]!.text),
      );
      card.control(snd.R_PCM_STOP, 0);
      card.control(snd.R_PCM_RELEASE, 0);
      assertEquals(Deno.readTextFileSync(path), "x\n".repeat(life));
    }
  });
});

Deno.test("exec: a stalled stream whose command ends gets IO_ERR then", () => {
  using card = new Card({ sinks: ["exec:sleep 0.3"], pace: "free" });
  card.prepare({ bufferBytes: 2 ** 20 });
  card.control(snd.R_PCM_START, 0);
  card.play(noise(2 ** 17));
  assertEquals(card.done(), []);
  while (card.reported("error").length === 0) assert(card.dispatch());
  assertEquals(card.done().map(({ status }) => status), [S_IO_ERR]);
});

Deno.test("exec: a capture gets what a command writes, waits for it, and fails with IO_ERR after its end", () => {
  withFolder((folder) => {
    const path = `${folder}/in.raw`;
    const sound = noise(20 * PERIOD + 100);
    Deno.writeFileSync(path, sound);
    using card = new Card({
      sinks: [],
      sources: [`exec:head -c 50000 ${path}; sleep 0.1; tail -c +50001 ${path}`],
      pace: "free",
    });
    card.prepare();
    card.control(snd.R_PCM_START, 0);
    const heard: number[] = [];
    const statuses: number[] = [];
    for (let i = 0; i < 22; i++) {
      card.capture(PERIOD);
      const done = card.done();
      while (done.length === 0) {
        assert(card.dispatch());
        done.push(...card.done());
      }
      heard.push(...done[0]!.samples);
      statuses.push(done[0]!.status);
    }
    assertEquals(statuses, [...new Array(20).fill(S_OK), S_IO_ERR, S_IO_ERR]);
    assertEquals(heard, [...sound]);
    assertEquals(card.reported("error").length, 1);
  });
});

Deno.test("exec: a command that wrote less than a buffer and ended is known to have ended when the buffer's time is over", () => {
  for (const bytes of [0, 10, PERIOD + 10]) {
    const command = `head -c ${bytes} /dev/zero`;
    using card = new Card({ sinks: [], sources: [`exec:${command}`] });
    card.prepare();
    card.control(snd.R_PCM_START, 0);
    while (card.dispatch(200)); // its samples, and its end
    for (let i = 0; i < 3; i++) card.capture(PERIOD);
    const whole = Math.floor(bytes / PERIOD);
    for (let i = 0; i < 3; i++) {
      card.clock.pass(10);
      assertEquals(card.done().map(({ status }) => status), [i < whole ? S_OK : S_IO_ERR]);
    }
    const told = card.reported("error").map(({ text }) => text);
    assert(told[0]!.startsWith(`Cannot use the command "${command}" any more: it `), told[0]);
    assertEquals(told.length, 1);
  }
});

Deno.test("exec: a command that ended in mid-stream is run again by the next START, one that runs is not", () => {
  withFolder((folder) => {
    const path = `${folder}/count`;
    const lives = () => Deno.readTextFileSync(path);
    // The first ends after a period, the others do not.
    const command = `echo x >> ${path}; test $(wc -l < ${path}) -gt 1 && exec cat; ` +
      `head -c ${PERIOD} > /dev/null`;
    using card = new Card({ sinks: [`exec:${command}`], pace: "free" });
    card.prepare();
    card.control(snd.R_PCM_START, 0);
    const play = (): number => {
      card.play(noise(PERIOD));
      return card.done()[0]!.status;
    };
    while (play() === S_OK) card.dispatch(10);
    assertEquals(play(), S_IO_ERR);
    assertEquals(card.reported("error").length, 1);
    for (let life = 0; life < 2; life++) {
      card.control(snd.R_PCM_STOP, 0);
      assertEquals(card.control(snd.R_PCM_START, 0), S_OK);
      for (let i = 0; i < 4; i++) assertEquals(play(), S_OK);
    }
    card.control(snd.R_PCM_STOP, 0);
    card.control(snd.R_PCM_RELEASE, 0);
    assertEquals(card.reported("error").length, 1);
    while (lives().length < 4) card.dispatch(10);
    assertEquals(lives(), "x\n".repeat(2));
  });
});

/** What the shells of commands were told to run, by those that are there now. */
function running(): string[] {
  const lines = childrenOf(Deno.pid).map((pid) => Deno.readTextFileSync(`/proc/${pid}/cmdline`));
  return lines.map((line) => line.split("\0").at(-2)!.split("\n").at(-1)!);
}

/** Starts a stream, and ends it at once. */
function pass(card: Card, streamId = 0): void {
  card.prepare({ streamId });
  card.control(snd.R_PCM_START, streamId);
  card.control(snd.R_PCM_STOP, streamId);
  card.control(snd.R_PCM_RELEASE, streamId);
}

const errorsOf = (card: Card): string[] => card.reported("error").map(({ text }) => text);

Deno.test("exec: each command has its time after its stream's end; one that is late is killed, and named", () => {
  withFolder((folder) => {
    const gate = `${folder}/gate`;
    new Deno.Command("mkfifo", { args: [gate] }).outputSync();
    using card = new Card({
      sinks: [
        `exec:cat > /dev/null; read line < ${gate}; echo done > ${folder}/done`,
        "exec:sleep 60",
      ],
      pace: "free",
    });
    pass(card, 0);
    card.commandClock.pass(GRACE_MS / 2);
    pass(card, 1);
    card.commandClock.pass(GRACE_MS / 2 - 1);
    assertEquals([card.commands.finishing.length, errorsOf(card)], [2, []]);
    Deno.writeTextFileSync(gate, "go\n");
    while (card.commands.finishing.length > 1) assert(card.dispatch());
    assertEquals(Deno.readTextFileSync(`${folder}/done`), "done\n");
    card.commandClock.pass(GRACE_MS / 2);
    assertEquals(errorsOf(card), []);
    card.commandClock.pass(1);
    const killed = 'Killed "sleep 60" before it had finished: its stream ended 30 s ago';
    assertEquals([card.commands.finishing, errorsOf(card)], [[], [killed]]);
    assertEquals(running(), []);
  });
});

Deno.test("exec: several playbacks at once, and one after the other, are all finished by their commands", () => {
  withFolder((folder) => {
    const encoder = (i: number) =>
      `exec:cat > ${folder}/${i}.$$; sleep 0.2; echo end >> ${folder}/${i}.$$`;
    const sound = noise(4 * PERIOD);
    using card = new Card({ sinks: [encoder(0), encoder(1)], pace: "free" });
    for (let life = 0; life < 6; life++) playAll(card, sound);
    pass(card, 1);
    card.finish();
    const files = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assertEquals(files.filter((name) => name.startsWith("0.")).length, 6);
    for (const name of files) {
      const expected = name.startsWith("0.") ? [...sound] : [];
      assertEquals([...Deno.readFileSync(`${folder}/${name}`)], [...expected, ...bytes("end\n")]);
    }
    assertEquals(errorsOf(card), []);
  });
});

Deno.test("exec: however many streams end, few commands are left behind, and none when the device is closed", () => {
  {
    // A player that does not heed the end of its input, and a recorder.
    using card = new Card({
      sinks: ["exec:sleep 60"],
      sources: ["exec:cat /dev/zero"],
      pace: "free",
    });
    for (let life = 0; life < 40; life++) pass(card, 0);
    assertEquals(running().length, 32);
    const late =
      'Killed "sleep 60" before it had finished: 32 commands whose streams ended later are still running';
    assertEquals(errorsOf(card), new Array(8).fill(late));
    pass(card, 1);
    while (card.commands.finishing.includes("cat /dev/zero")) assert(card.dispatch());
    assertEquals(errorsOf(card).length, 9);
  }
  assertEquals(running(), []);
});

Deno.test("exec: a stream offers the formats that its command's program has a name for", () => {
  using card = new Card({
    sinks: ["exec:cat > /dev/null $PW_FORMAT", "exec:cat ${SOX_FORMAT}", "exec:a $PW_FORMATS"],
    sources: ["exec:ffmpeg -f $FFMPEG_FORMAT"],
  });
  const names = [0, 1, 2, 3].map((id) => {
    const request = new DataView(new ArrayBuffer(16));
    [snd.R_PCM_INFO, id, 1, 32].forEach((word, i) => request.setUint32(4 * i, word, true));
    const answer = card.request(new Uint8Array(request.buffer));
    const { formats } = snd.decodePcmInfo(new DataView(answer.buffer), 4);
    return snd.SAMPLE_FORMATS.filter(({ code }) => (formats >> BigInt(code) & 1n) === 1n)
      .map(({ name }) => name).join(" ");
  });
  const all = "MU_LAW A_LAW S8 U8 S16 U16 S24_3 U24_3 S32 U32 FLOAT FLOAT64";
  assertEquals(names[0], "MU_LAW A_LAW S8 U8 S16 S32 FLOAT FLOAT64");
  assertEquals([names[1], names[3]], [all, all]);
  assertEquals(names[2]!.split(" ").length, snd.SAMPLE_FORMATS.length - 1);
});

Deno.test("exec: $SOX_FORMAT tells sox what it gets, for each format", () => {
  withFolder((folder) => {
    for (const sample of snd.SAMPLE_FORMATS) {
      const { SOX_FORMAT } = variablesOf({ sample, channels: 2, rate: 48000 });
      if (SOX_FORMAT === undefined) continue;
      const path = `${folder}/${sample.name}.wav`;
      const command = `sox -q -L -t $SOX_FORMAT -r $RATE -c $CHANNELS - -b 64 -e float ${path}`;
      const length = 2 * sample.bytes * 480;
      const loud = sample.name === "FLOAT64"
        ? [0xd0, 0x3f]
        : sample.name === "FLOAT"
        ? [0x3e]
        : [0x10];
      // One channel is silence, the other is not.
      const sound = new Uint8Array(length);
      for (let at = 0; at < length; at += sample.bytes) sound.set(sample.silence, at);
      for (let at = 0; at < length; at += 2 * sample.bytes) {
        loud.forEach((byte, i) => sound[at + sample.bytes - loud.length + i]! ^= byte);
      }
      using card = new Card({ sinks: [`exec:${command}`], pace: "free" });
      card.prepare({ format: sample.code, periodBytes: length, bufferBytes: 2 * length });
      card.control(snd.R_PCM_START, 0);
      card.play(sound);
      card.control(snd.R_PCM_STOP, 0);
      card.control(snd.R_PCM_RELEASE, 0);
      card.finish();
      const heard = new Float64Array(readAll(path).samples.buffer);
      assertEquals(heard.length, 2 * 480, sample.name);
      // mu-law's and A-law's least values are no zero, but nearly.
      assert(heard.every((value, i) => Math.abs(value) > 0.002 !== (i % 2 === 1)), sample.name);
    }
  });
});
