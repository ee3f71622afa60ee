// SPDX-License-Identifier: Apache-2.0
// The cues and expectations of a file: what they say, and each mistake at its line.
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { loadSceneClasses, readScene, SceneError } from "../../lib/scene/mod.ts";

const CLASSES = await loadSceneClasses();

/** Devices of several classes. */
const CAR = `[[device]]
class = "sound"
name = "music"
loopback = "soft"
[[device]]
class = "can"
name = "body"
loopback = "soft"
[[device]]
class = "gpio"
name = "pins"
loopback = "soft"
[[device]]
class = "rng"
loopback = "/dev/loopback-237"
socket = "/run/rng"
`;
const CAR_LINES = CAR.split("\n").length - 1;
const PLAY = '[[cue]]\nat = 0\nplay = "tone"\non = "music"\n';

const cue = (text: string): string => `[[cue]]\nat = 1\n${text}\n`;

Deno.test("what cues say", () => {
  const text = CAR + PLAY + cue('play = "wav:a.wav"\non = "music"') +
    cue('record = "take"\non = "music"\nseconds = 1.5') +
    cue('play = "chirp"\non = "music"\nseconds = 0.5') + cue('pause = "music"') +
    cue('kill = "viola"') + cue('start = "viola"') + cue('send = "123#11FF"\non = "body"') +
    cue('set = "BUTTON=1"\non = "pins"') + cue("load = 2\nseconds = 3") +
    cue('caption = "Now"');
  const { cues } = readScene(text, CLASSES);
  assertEquals(cues.map(({ at }) => at), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
  assertEquals(cues.map(({ action }) => action), [
    { kind: "play", device: "music", what: "tone", seconds: 2 },
    { kind: "play", device: "music", what: "wav:a.wav", seconds: 2 },
    { kind: "record", device: "music", name: "take", seconds: 1.5 },
    { kind: "play", device: "music", what: "chirp", seconds: 0.5 },
    { kind: "pause", device: "music" },
    { kind: "kill", device: "viola" },
    { kind: "start", device: "viola" },
    { kind: "send", device: "body", frame: "123#11FF" },
    { kind: "set", device: "pins", line: "BUTTON", level: 1 },
    { kind: "load", processes: 2, seconds: 3 },
    { kind: "caption", text: "Now" },
  ]);
});

Deno.test("what expectations say", () => {
  const expect = (text: string): string => `[[expect]]\n${text}\n`;
  const text = CAR + PLAY + expect('equal = "music"') +
    expect('equal = "music"\nfrom = 1\nto = 2.5') +
    expect('nothing-lost = "music"') + expect('no-xruns = "music"') +
    expect('latency-below = 300\non = "music"');
  assertEquals(readScene(text, CLASSES).expectations, [
    { kind: "equal", device: "music", from: 0, to: Infinity },
    { kind: "equal", device: "music", from: 1, to: 2.5 },
    { kind: "nothing-lost", device: "music" },
    { kind: "no-xruns", device: "music" },
    { kind: "latency-below", device: "music", ms: 300 },
  ]);
});

Deno.test("a file without cues has none", () => {
  const { cues, expectations } = readScene(CAR, CLASSES);
  assertEquals([cues, expectations], [[], []]);
});

/** Lines are counted from the end of the devices. */
const TABLE: [what: string, text: string, line: number, message: RegExp][] = [
  ["a cue that does nothing", "[[cue]]\nat = 1\n", 1, /expected something that happens: play/],
  ["a cue without a time", '[[cue]]\ncaption = "x"\n', 1, /\[\[cue\]\] 1: at is missing/],
  ["a time before the beginning", '[[cue]]\nat = -1\ncaption = "x"\n', 2, /from 0 to 3600/],
  ["a time with its unit", '[[cue]]\nat = "1s"\ncaption = "x"\n', 2, /"1s": expected a number/],
  [
    "a time that is no number",
    '[[cue]]\nat = nan\ncaption = "x"\n',
    2,
    /= nan: expected a number/,
  ],
  ["a time without end", '[[cue]]\nat = inf\ncaption = "x"\n', 2, /from 0 to 3600/],
  ["a misspelt action", cue('paly = "tone"'), 3, /"paly" in \[\[cue\]\] 1.*did you mean play\?/],
  [
    "a misspelt piece",
    cue('play = "ton"\non = "music"'),
    3,
    /"ton" \(did you mean tone\?\): expected wav:FILE, tone/,
  ],
  ["a file without wav:", cue('play = "a.wav"\non = "music"'), 3, /expected wav:FILE, tone/],
  ["a piece on no card", cue('play = "tone"'), 1, /on is missing/],
  [
    "a key of another action",
    cue('pause = "music"\nseconds = 1'),
    4,
    /"seconds" in a cue that pa/,
  ],
  [
    "a misspelt card",
    cue('play = "tone"\non = "musik"'),
    4,
    /on = "musik".*did you mean music\?\), expected music$/,
  ],
  [
    "a card of another class",
    cue('pause = "body"'),
    3,
    /of class can, expected one of class sound/,
  ],
  ["a piece that is too short", cue('play = "tone"\non = "music"\nseconds = 0'), 5, /from 0.01/],
  ["a frame that is none", cue('send = "12#"\non = "body"'), 3, /candump writes it/],
  ["a frame of half a byte", cue('send = "123#1"\non = "body"'), 3, /candump writes it/],
  ["a line without a level", cue('set = "BUTTON"\non = "pins"'), 3, /LINE=0 or LINE=1/],
  ["a recording without an end", cue('record = "a"\non = "music"'), 1, /seconds is missing/],
  [
    "a recording in another folder",
    cue('record = "../a"\non = "music"\nseconds = 1'),
    3,
    /"..\/a": expected a name of letters/,
  ],
  [
    "a recording that another cue makes",
    cue('record = "a"\non = "music"\nseconds = 1').repeat(2),
    8,
    /record = "a" in \[\[cue\]\] 2: \[\[cue\]\] 1 has it already/,
  ],
  [
    "a recording in the file of a card",
    cue('record = "music"\non = "music"\nseconds = 1'),
    3,
    /what music plays is recorded there/,
  ],
  ["a load without an end", cue("load = 1"), 1, /seconds is missing/],
  ["a load of nothing", cue("load = 0\nseconds = 1"), 3, /from 1 to 64/],
  ["an empty caption", cue('caption = ""'), 3, /a text of 1 to 200 characters/],
  ["a back-end that viola does not start", cue('kill = "rng"'), 3, /command is missing/],
  ["a start of what runs", cue('start = "music"'), 3, /at 1 s: it is running then/],
  [
    "a kill of what has ended",
    cue('kill = "viola"') + '[[cue]]\nat = 2\nstop = "viola"\n',
    6,
    /at 2 s: it has ended at 1 s/,
  ],
  ["a kill of nothing there is", cue('kill = "vilo"'), 3, /"vilo".*did you mean viola\?/],
  ["an expectation of nothing", "[[expect]]\n", 1, /expected something to expect: equal/],
  ["a misspelt expectation", '[[expect]]\nno-xrun = "music"\n', 2, /did you mean no-xruns\?/],
  ["an expectation of a silent card", '[[expect]]\nequal = "music"\n', 2, /nothing is played/],
  [
    "an end before its beginning",
    `${PLAY}[[expect]]\nequal = "music"\nfrom = 3\nto = 2\n`,
    7,
    /from = 3 is not before to = 2/,
  ],
  ["a latency of nothing", "[[expect]]\nlatency-below = 5\n", 1, /on is missing/],
  ["one cue that is no array", '[cue]\nat = 1\ncaption = "x"\n', 1, /expected an array/],
];

for (const [what, text, line, message] of TABLE) {
  Deno.test(`a scene with ${what} is refused with one message`, () => {
    const { problems } = assertThrows(() => readScene(CAR + text, CLASSES), SceneError, "", text);
    assertEquals(problems.length, 1, JSON.stringify(problems));
    assertEquals(problems[0]!.line, CAR_LINES + line, problems[0]!.text);
    assertMatch(problems[0]!.text, message);
  });
}

Deno.test("cues on a driver of the kernel's are refused, and lines of somebody else's controller", () => {
  const text = CAR.replace('"soft"', '"/dev/loopback-1"').replace(
    'name = "pins"',
    'name = "pins"\nsocket = "/run/pins"',
  );
  const message = (cues: string): string =>
    assertThrows(() => readScene(text + cues, CLASSES), SceneError).problems[0]!.text;
  assertMatch(message(PLAY), /on = "music".*its driver is not one of viola demo's/);
  assertMatch(message(cue('set = "A=1"\non = "pins"')), /only lines of a device of viola's own/);
});

Deno.test("a device that is killed may be started and killed again, in the order of time", () => {
  const life = (kind: string, at: number): string => `[[cue]]\nat = ${at}\n${kind} = "music"\n`;
  const text = life("kill", 3) + life("start", 2) + life("stop", 1) + life("start", 4);
  assertEquals(readScene(CAR + text, CLASSES).cues.length, 4);
});
