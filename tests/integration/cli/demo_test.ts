// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  frameBytes,
  sameWavFormat,
  type WavFormat,
  WavReader,
  WavWriter,
} from "../../../lib/wav/mod.ts";
import type { Verdict } from "../../../cli/verdict.ts";
import { childrenOf, type Process, run, TempFolder, until } from "../../support/process.ts";
import { bytes, fmtOf, wave } from "../../wav/files.ts";
import { assertFails, viola, violaBy } from "./viola.ts";

/** A file whose every byte depends on its place. */
function numbered(path: string, format: WavFormat, frames: number): string {
  const bytes = Uint8Array.from({ length: frames * frameBytes(format) }, (_, i) => i ^ (i >> 8));
  using writer = WavWriter.create(path, format);
  writer.write(bytes);
  writer.commit();
  return path;
}

function samples(path: string): { format: WavFormat; bytes: Uint8Array } {
  using reader = WavReader.open(path);
  const bytes = new Uint8Array(reader.frames * frameBytes(reader.format));
  assertEquals(reader.read(bytes), bytes.length);
  return { format: reader.format, bytes };
}

/** Starts a demo whose temporary files lie in `folder`/tmp and whose output in `folder`/out. */
function demo(folder: TempFolder, args: string[]): Process {
  Deno.mkdirSync(folder.file("tmp"), { recursive: true });
  const env = { TMPDIR: folder.file("tmp") };
  return viola(["demo", "--out", folder.file("out"), ...args], { env });
}

function leftIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name);
}

/** Which of these processes plays to a file. */
function deviceOf(pids: readonly number[], output: string): number {
  return pids.find((pid) => Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(output))!;
}

function isAlive(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

for (const memory of ["isolated", "direct"]) {
  Deno.test(`viola demo --fast --json plays two files to the bit, ${memory}`, async () => {
    await using folder = await TempFolder.create();
    const stereo: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };
    const mono: WavFormat = { encoding: "pcm", bits: 16, channels: 1, rate: 22050 };
    // No whole number of periods: the last one is not filled up.
    const a = numbered(folder.file("a.wav"), stereo, 100_001);
    const b = numbered(folder.file("b.wav"), mono, 1);
    await using process = demo(folder, [
      ...["--fast", "--json", "--memory", memory, "--play", a, "--play", b],
    ]);
    assertEquals((await process.end()).code, 0, process.report());
    const lines = process.stdout.trimEnd().split("\n");
    assertEquals([lines.length, process.stderr], [1, ""], process.report());
    const verdict: Verdict = JSON.parse(lines[0]!);
    assertEquals([verdict.ok, verdict.pace, verdict.memory], [true, "free", memory]);
    const frames = [100_001, 1];
    for (const [i, input] of [a, b].entries()) {
      const card = verdict.cards[i]!;
      const { equal, xruns, output, priority } = card;
      assertEquals({ equal, xruns, priority, frames: card.frames }, {
        equal: true,
        xruns: 0,
        priority: i,
        frames: frames[i]!,
      });
      assertEquals(output, folder.file(`out/card${i}.wav`));
      const [played, heard] = [samples(input), samples(output)];
      assert(sameWavFormat(played.format, heard.format));
      assertEquals(played.bytes, heard.bytes);
    }
    assertEquals(leftIn(folder.file("tmp")), []);
    assertEquals(leftIn(folder.file("out")).sort(), ["card0.wav", "card1.wav"]);
  });
}

const FORMATS: [WavFormat, WavFormat][] = [
  [
    { encoding: "pcm", bits: 8, channels: 1, rate: 8000 },
    { encoding: "pcm", bits: 32, channels: 2, rate: 192000 },
  ],
  [
    { encoding: "pcm", bits: 24, channels: 2, rate: 96000 },
    { encoding: "float", bits: 32, channels: 1, rate: 44100 },
  ],
  [
    { encoding: "float", bits: 64, channels: 2, rate: 48000 },
    { encoding: "alaw", bits: 8, channels: 1, rate: 8000 },
  ],
  [
    { encoding: "mulaw", bits: 8, channels: 2, rate: 11025 },
    { encoding: "pcm", bits: 24, channels: 8, rate: 192000 },
  ],
];

for (const [first, second] of FORMATS) {
  const name = [first, second].map((f) => `${f.encoding} ${f.bits} ${f.channels} × ${f.rate}`);
  Deno.test(`viola demo plays ${name.join(" and ")}`, async () => {
    await using folder = await TempFolder.create();
    const files = [first, second].map((format, i) =>
      numbered(folder.file(`${i}.wav`), format, Math.round(format.rate / 3) + 7)
    );
    const play = files.flatMap((file) => ["--play", file]);
    await using process = demo(folder, ["--fast", "--json", ...play]);
    assertEquals((await process.end()).code, 0, process.report());
    for (const [i, file] of files.entries()) {
      assertEquals(samples(folder.file(`out/card${i}.wav`)), samples(file));
    }
  });
}

Deno.test("viola demo plays pieces of its own, over what an earlier demo left", async () => {
  await using folder = await TempFolder.create();
  Deno.mkdirSync(folder.file("out"));
  Deno.writeTextFileSync(folder.file("out/card0.wav"), "old");
  await using process = demo(folder, ["--fast"]);
  assertEquals((await process.end()).code, 0, process.report());
  assertEquals(leftIn(folder.file("out")).sort(), [
    "card0.wav",
    "card1.wav",
    "gong.wav",
    "prelude.wav",
  ]);
  const { stdout } = process;
  assert(/card 0 {2}\S*\/card0.wav equals \S*\/prelude.wav/.test(stdout), stdout);
  assert(/card 1 {2}\S*\/card1.wav equals \S*\/gong.wav/.test(stdout), stdout);
  assert(/verdict success/.test(stdout), stdout);
});

/** Waits until both cards have played a while, in real time. @returns the processes the demo started */
async function playing(process: Process): Promise<number[]> {
  const isOn = () => /card 1 .* 1\.\d of 5\.0 s {2}running/.test(process.stdout);
  await process.until(isOn, "the second card to play", 20_000);
  const children = childrenOf(process.pid);
  assertEquals(children.length, 3, process.report());
  return children;
}

function assertBeginning(path: string, whole: string): void {
  const [heard, played] = [samples(path), samples(whole)];
  assert(heard.bytes.length > 0 && heard.bytes.length < played.bytes.length, path);
  assertEquals(heard.bytes, played.bytes.subarray(0, heard.bytes.length));
}

for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const) {
  Deno.test(`${signal} ends a demo in order: valid files, no process, no socket`, async () => {
    await using folder = await TempFolder.create();
    await using process = demo(folder, []);
    const children = await playing(process);
    process.signal(signal);
    await assertFails(process, 3, new RegExp(`Cannot finish the demo: ${signal} ended it`), 5000);
    assertEquals(children.filter(isAlive), []);
    assertEquals(leftIn(folder.file("tmp")), []);
    assert(!/verdict/.test(process.stdout), process.stdout);
    assertBeginning(folder.file("out/card0.wav"), folder.file("out/prelude.wav"));
    assertBeginning(folder.file("out/card1.wav"), folder.file("out/gong.wav"));
  });
}

Deno.test("a demo whose device is killed reports it, and ends in order", async () => {
  await using folder = await TempFolder.create();
  await using process = demo(folder, []);
  const children = await playing(process);
  Deno.kill(deviceOf(children, folder.file("out/card1.wav")), "SIGKILL");
  await assertFails(process, 3, /Cannot finish the demo: the device of card 1 ended with SIGKILL/);
  assertEquals(children.filter(isAlive), []);
  assertEquals(leftIn(folder.file("tmp")), []);
  assertBeginning(folder.file("out/card1.wav"), folder.file("out/gong.wav"));
});

Deno.test("a demo whose disk is full names the cause", async () => {
  await using folder = await TempFolder.create();
  Deno.mkdirSync(folder.file("tmp"));
  // A limit on a file's size, which is told by an errno as the disk's is.
  await using process = violaBy(`trap '' XFSZ; exec "$@"`, ["demo", "--out", folder.file("out")], {
    env: { TMPDIR: folder.file("tmp") },
  });
  const device = deviceOf(await playing(process), folder.file("out/card1.wav"));
  await run("prlimit", [`--pid=${device}`, "--fsize=100000"]);
  const words = new RegExp(
    "Cannot confirm that every sample arrived: card 1: \\S*/card1.wav does not equal what was played: it has \\d+ frames, " +
      "expected 220500; \\d+ I/O errors; (\\d+ xruns?, the sound had gaps; )?Cannot write \\S*/card1.wav: File too large",
  );
  await assertFails(process, 3, words, 20_000);
  assert(/card 0 {2}\S*card0.wav equals/.test(process.stdout), process.report());
  assert(!/verdict/.test(process.stdout), process.report());
});

Deno.test("a second demo does not write to the folder of a running one; a killed one leaves no lock", async () => {
  await using folder = await TempFolder.create();
  await using first = demo(folder, []);
  const children = await playing(first);
  await using second = demo(folder, ["--fast"]);
  await assertFails(second, 2, /Cannot use \S*\/out: another demo is writing to it/);
  assertEquals(second.stdout, "");
  first.signal("SIGKILL");
  await first.ended;
  await until(() => !children.some(isAlive), "the end of the first demo's children", 5000);
  await using third = demo(folder, ["--fast"]);
  assertEquals((await third.end()).code, 0, third.report());
});

Deno.test("a demo whose file ends in part of a frame says that this is not played", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("in.wav");
  const sound = Array.from({ length: 4003 }, (_, i) => i & 0xff);
  Deno.writeFileSync(path, wave(fmtOf(1, 2, 4, 16), "data", 4003, sound));
  await using process = demo(folder, ["--fast", "--play", path]);
  assertEquals((await process.end()).code, 0, process.report());
  const { stdout } = process;
  assert(
    /card 0 {2}plays \S*in.wav, .*, without its last 3 bytes: not a whole frame$/m.test(stdout),
  );
  assert(/card 0 .* equals \S*in.wav, without its last 3 bytes: not a whole frame$/m.test(stdout));
  assert(/the output equals every whole frame of the input, bit for bit$/m.test(stdout), stdout);
});

Deno.test("a demo plays S24_LE, and what a killed recorder left, and says what is odd", async () => {
  await using folder = await TempFolder.create();
  const padded = folder.file("padded.wav");
  const killed = folder.file("killed.wav");
  const sound = Array.from({ length: 4800 }, (_, i) => i & 0xff);
  Deno.writeFileSync(padded, wave(fmtOf(1, 1, 4, 24), "data", 4800, sound));
  Deno.writeFileSync(killed, bytes("RIFF", 8, "WAVE", fmtOf(1, 2, 2, 16), "data", 0, sound));
  await using process = demo(folder, ["--fast", "--play", padded, "--play", killed]);
  assertEquals((await process.end()).code, 0, process.report());
  const { stdout } = process;
  assert(/card 0 {2}plays \S*padded.wav, 24-bit pcm in 32 bits, 1 channel, 8000 Hz$/m.test(stdout));
  const odd =
    "plays \\S*killed.wav, 16-bit pcm, 2 channels, 8000 Hz\n {8}its header says 2 bytes per frame" +
    ".*\n {8}its header counts no samples, .* the 4800 bytes behind it are taken for samples\n";
  assert(new RegExp(`card 1  ${odd}`).test(stdout), stdout);
  assert(/^verdict success/m.test(stdout), stdout);
  const packed = sound.filter((_, i) => i % 4 < 3);
  assertEquals(samples(folder.file("out/card0.wav")).bytes, Uint8Array.from(packed));
  assertEquals(samples(folder.file("out/card1.wav")).bytes, Uint8Array.from(sound));
});

Deno.test("a demo of a file that is still being recorded plays what it held at the start, and reports that", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("in.wav");
  const format: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };
  numbered(path, format, 48_000);
  using recorder = WavWriter.append(path, format);
  await using process = demo(folder, ["--fast", "--play", path]);
  const record = setInterval(() => {
    recorder.write(new Uint8Array(400));
    recorder.commit();
  }, 5);
  const { code } = await process.end().finally(() => clearInterval(record));
  assertEquals(code, 0, process.report());
  assertMatch(process.stdout, /equals \S*in.wav$/m, process.report());
  // Other remarks may stand before it: the header may be older than the samples when it is read.
  const grown = / {8}it has grown during the demo: the first (\d+) of (\d+) frames were/;
  assertMatch(process.stdout, grown, process.report());
  const [played, recorded] = grown.exec(process.stdout)!.slice(1).map(Number);
  assert(played! >= 48_000 && recorded! > played!, process.stdout);
  assertEquals(samples(folder.file("out/card0.wav")).bytes.length, 4 * played!);
});

Deno.test("a demo's result is not dropped for a slow reader", async () => {
  await using folder = await TempFolder.create();
  await using process = violaBy(`"$@" | (sleep 3; cat)`, [
    ...["demo", "--fast", "--json", "--out", folder.file("out")],
  ]);
  assertEquals((await process.end()).code, 0, process.report());
  assertEquals(JSON.parse(process.stdout).ok, true);
});

Deno.test("a demo that is killed takes its processes with it", async () => {
  await using folder = await TempFolder.create();
  await using process = demo(folder, []);
  const children = await playing(process);
  process.signal("SIGKILL");
  await process.ended;
  await until(() => !children.some(isAlive), "the end of the demo's children", 5000);
  assertBeginning(folder.file("out/card0.wav"), folder.file("out/prelude.wav"));
});

Deno.test("a demo that is stopped for longer than any deadline of its drivers plays on", async () => {
  await using folder = await TempFolder.create();
  await using process = demo(folder, []);
  await playing(process);
  process.signal("SIGSTOP");
  // Longer than a driver waits for its device.
  await new Promise((resolve) => setTimeout(resolve, 11_000));
  process.signal("SIGCONT");
  await process.end(30_000);
  assert(!/EIO|ETIMEDOUT/.test(process.stderr), process.report());
  assert(/card 0 .* equals .*\n.*\ncard 1 .* equals /.test(process.stdout), process.report());
});

Deno.test("a demo shows names that hold escape sequences, in ASCII where the locale is", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("a\x1b[2J\nb─é.wav");
  numbered(path, { encoding: "pcm", bits: 16, channels: 1, rate: 8000 }, 4000);
  const args = ["demo", "--fast", "--play", path, "--out", folder.file("out")];
  await using process = viola(args, { env: { LC_ALL: "C" } });
  assertEquals((await process.end()).code, 0, process.report());
  assert(/^[\n -~]*$/.test(process.stdout), process.report());
  assert(
    /^card 0 {2}plays \S*\/a\\x1b\[2J\\nb-\\xe9.wav, 16-bit/m.test(process.stdout),
    process.stdout,
  );
  await using bad = viola([...args.slice(0, 3), `${path}x`], { env: { LC_ALL: "C" } });
  await assertFails(bad, 2, /^viola: Cannot read \S*\/a\\x1b\[2J\\nb-\\xe9.wavx: no such file/m);
});
