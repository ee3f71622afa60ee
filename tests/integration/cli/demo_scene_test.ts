// SPDX-License-Identifier: Apache-2.0
// viola demo FILE, as a process.
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { DemoEvent } from "../../../lib/scene/perform.ts";
import type { Verdict } from "../../../lib/scene/judge.ts";
import { type Process, TempFolder } from "../../support/process.ts";
import { WavReader, WavWriter } from "../../../lib/wav/mod.ts";
import { assertFails, facts, viola } from "./viola.ts";

/** Processes take a while to start, on a machine that does other things too. */
const PATIENCE_MS = 60_000;

const card = (name: string, more = ""): string =>
  `[[device]]\nclass = "sound"\nname = "${name}"\nloopback = "soft"\n${more}\n`;
const cue = (at: number, text: string): string => `[[cue]]\nat = ${at}\n${text}\n`;
const expect = (text: string): string => `[[expect]]\n${text}\n`;

/** Starts a demo of a scene, whose temporary files lie in `folder`/tmp and whose output in `folder`/out. */
function demo(folder: TempFolder, scene: string, args: string[] = ["--json"]): Process {
  Deno.mkdirSync(folder.file("tmp"), { recursive: true });
  const file = folder.file("scene.toml");
  Deno.writeTextFileSync(file, scene);
  const env = { TMPDIR: folder.file("tmp") };
  return viola(["demo", file, "--out", folder.file("out"), ...args], { env });
}

/** The verdicts of a demo that has ended. */
function verdictsOf(process: Process): Verdict[] {
  const last = facts(process).at(-1) as { verdicts?: Verdict[] } | undefined;
  const verdicts = last?.verdicts;
  assert(verdicts !== undefined, process.report());
  return verdicts!;
}

function eventsOf(folder: TempFolder): DemoEvent[] {
  const lines = Deno.readTextFileSync(folder.file("out/events.jsonl")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line));
}

/** Writes half a second that a card captures. @returns its samples */
function writeSource(path: string): Uint8Array {
  const samples = Uint8Array.from({ length: 4 * 24_000 }, (_, i) => i ^ (i >> 8));
  using writer = WavWriter.create(path, { encoding: "pcm", bits: 16, channels: 2, rate: 48_000 });
  writer.write(samples);
  writer.commit();
  return samples;
}

Deno.test("viola demo FILE plays what the file says, on devices of several classes, and judges it", async () => {
  await using folder = await TempFolder.create();
  const [source, spoken] = [folder.file("source.wav"), writeSource(folder.file("source.wav"))];
  const scene = card("music") + card("voice", "priority = 1") +
    card("microphone", `source = "wav:${source}"`) +
    cue(0, 'record = "take"\non = "microphone"\nseconds = 0.4') +
    '[[device]]\nclass = "can"\nname = "body"\nloopback = "soft"\n' +
    '[[device]]\nclass = "gpio"\nname = "pins"\nloopback = "soft"\nline = ["HORN"]\n' +
    cue(0, 'play = "chirp"\non = "music"\nseconds = 0.5') +
    cue(0.1, 'play = "tone"\non = "voice"\nseconds = 0.2') +
    cue(0.1, 'send = "123#11FF"\non = "body"') + cue(0.1, 'set = "HORN=1"\non = "pins"') +
    cue(0.2, 'caption = "Soon over"') + cue(0.2, "load = 1\nseconds = 0.1") +
    expect('equal = "music"') + expect('equal = "voice"\nfrom = 0.05\nto = 0.15') +
    expect('latency-below = 10000\non = "music"');
  await using process = demo(folder, scene);
  assertEquals((await process.end(PATIENCE_MS)).code, 0, process.report());
  assertEquals(verdictsOf(process).map(({ ok }) => ok), [true, true, true, true]);
  const page = Deno.readTextFileSync(folder.file("out/report.html"));
  const { cards } = JSON.parse(Deno.readTextFileSync(folder.file("out/report.json")));
  assertEquals(cards.map(({ device }: { device: string }) => device), ["music", "voice"]);
  for (const name of ["music.wav", "voice.wav"]) assert(page.includes(`src="${name}"`), name);
  using take = WavReader.open(folder.file("out/take.wav"));
  const taken = new Uint8Array(spoken.length);
  assertEquals(take.read(taken), 4 * 19_200);
  assertEquals(taken.subarray(0, 4 * 19_200), spoken.subarray(0, 4 * 19_200));
  const events = eventsOf(folder);
  const cues = events.filter(({ event }) => event === "cue").map(({ kind }) => kind);
  assertEquals(cues.sort(), ["caption", "load", "play", "play", "record", "send", "set", "unload"]);
  const played = events.filter(({ event }) => event === "played").map(({ frames }) => frames);
  assertEquals(played.sort(), [24_000, 9600]);
  assert(events.some(({ event, taken }) => event === "set" && taken === true), process.report());
  assert(events.every((one, i) => i === 0 || one.t >= events[i - 1]!.t), "in the order of time");
  assertEquals([...Deno.readDirSync(folder.file("tmp"))], []);
});

Deno.test("a device and viola itself are killed and started in a demo, and nothing is lost", async () => {
  await using folder = await TempFolder.create();
  const scene = card("music") + cue(0, 'play = "numbered"\non = "music"\nseconds = 2') +
    cue(0.3, 'kill = "music"') + cue(0.3, 'start = "music"') + cue(0.8, 'kill = "viola"') +
    cue(0.8, 'start = "viola"') + expect('nothing-lost = "music"');
  await using process = demo(folder, scene);
  assertEquals((await process.end(PATIENCE_MS)).code, 0, process.report());
  const events = eventsOf(folder);
  for (const wanted of ["resumed", "restored"]) {
    assert(events.some(({ event }) => event === wanted), `${wanted}\n${process.report()}`);
  }
  assertEquals([...Deno.readDirSync(folder.file("tmp"))], []);
});

Deno.test("a demo whose expectation does not hold ends with status 3, and says what was found", async () => {
  await using folder = await TempFolder.create();
  const scene = card("music") + cue(0, 'play = "noise"\non = "music"\nseconds = 0.3') +
    cue(0.1, 'play = "noise"\non = "music"\nseconds = 0.1') +
    expect('equal = "music"\nfrom = 5\nto = 6');
  await using process = demo(folder, scene, []);
  await assertFails(
    process,
    3,
    /Cannot confirm that .*nothing was played then; nor that/,
    PATIENCE_MS,
  );
  assertMatch(process.stdout, /^FAILED +every cue is carried out: at .*has not ended$/m);
});

Deno.test("a demo refuses what it cannot play", async () => {
  await using folder = await TempFolder.create();
  const play = cue(0, 'play = "tone"\non = "music"');
  const missing = folder.file("none.wav");
  const table: [scene: string, status: number, message: RegExp][] = [
    [`${card("music")}${play}tuba = 1\n`, 1, /scene\.toml:10: Cannot use "tuba"/],
    [
      `${card("music")}${cue(0, `play = "wav:${missing}"\non = "music"`)}`,
      2,
      /none\.wav: no such file/,
    ],
    [
      card("music") + play + cue(3, 'play = "gong"\non = "music"'),
      1,
      /a card plays one format in a demo/,
    ],
    [card("viola"), 1, /Cannot use the name viola/],
  ];
  for (const [scene, status, message] of table) {
    await using process = demo(folder, scene, []);
    await assertFails(process, status, message, PATIENCE_MS);
  }
});

Deno.test("viola demo --list names the scenes that come with it", async () => {
  await using process = viola(["demo", "--list"]);
  assertEquals((await process.end(PATIENCE_MS)).code, 0, process.report());
  assertMatch(process.stdout, /^two-cards +two cards play at once$/m);
});
