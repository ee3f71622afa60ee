// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import {
  cardFault,
  type CardVerdict,
  liveLine,
  restText,
  verdictLines,
} from "../../cli/verdict.ts";
import type { SoundProgress } from "../../lib/classes/sound/progress.ts";

const CARD: CardVerdict = {
  card: 1,
  input: "in.wav",
  output: "out/card1.wav",
  format: { encoding: "pcm", bits: 16, channels: 2, rate: 48000 },
  frames: 96000,
  restBytes: 0,
  remarks: [],
  priority: 1,
  equal: true,
  difference: "",
  xruns: 0,
  ioErrors: 0,
  deviceErrors: [],
  longestPeriodMs: 20,
};

const NOW: SoundProgress = {
  state: "running",
  position: 24000,
  total: 96000,
  periods: 25,
  xruns: 2,
  underruns: 0,
  ioErrors: 0,
  buffered: 960,
  latencyBytes: 4 * 480,
  interrupts: 30,
  messages: 8,
  lastPeriodMs: 20,
  longestPeriodMs: 21,
};

Deno.test("liveLine() shows position, state, xruns and latency, and fits a terminal", () => {
  const line = liveLine(CARD, NOW);
  assertEquals(
    line,
    "card 1  ━━━━────────────    0.5 of 2.0 s  running    2 xruns  latency 30 ms",
  );
  assert(line.length < 80);
  const longest = { ...NOW, state: "params set" as const, xruns: 0, latencyBytes: 4 * 48 * 999 };
  assert(liveLine(CARD, longest).length < 80);
});

Deno.test("cardFault() is silent when all is well, and says what is not", () => {
  assertEquals(cardFault(CARD), "");
  const other = { ...CARD, equal: false, difference: "frame 7 differs", xruns: 3 };
  assertEquals(
    cardFault(other),
    "card 1: out/card1.wav does not equal what was played: frame 7 differs; " +
      "3 xruns, the sound had gaps",
  );
  const full = { ...CARD, ioErrors: 1, deviceErrors: ["Cannot write x: no space left (ENOSPC)"] };
  assertEquals(
    cardFault(full),
    "card 1: 1 I/O error; Cannot write x: no space left (ENOSPC)",
  );
  assertEquals(cardFault({ ...full, ioErrors: 0 }), "", "an error that cost no sound is no fault");
  assertEquals(cardFault({ ...CARD, xruns: 1 }), "card 1: 1 xrun, the sound had gaps");
});

Deno.test("verdictLines() reports success only when all cards are right", () => {
  const verdict = {
    ok: true,
    pace: "real" as const,
    memory: "isolated" as const,
    cards: [CARD],
    steps: { devices: 120.4, played: 2003 },
    ms: 2345,
  };
  assertEquals(
    verdictLines(verdict),
    [
      "card 1  out/card1.wav equals in.wav",
      "        96000 frames, 16-bit pcm, 2 channels, 48000 Hz; no xruns",
      "times   devices listening 120 ms, played 2.0 s; 2.3 s in all",
      "verdict success: the output equals the input, bit for bit",
    ],
  );
  const bad = verdictLines({ ...verdict, ok: false, cards: [{ ...CARD, equal: false }] }).join(
    "\n",
  );
  assert(bad.startsWith("card 1  out/card1.wav does not equal in.wav\n"), bad);
  assert(!/verdict/.test(bad), bad);
});

Deno.test("a file that ends in part of a frame is not said to have come out whole", () => {
  assertEquals(restText(CARD), "");
  assertEquals(
    restText({ ...CARD, restBytes: 1 }),
    ", without its last 1 byte: not a whole frame",
  );
  const text = verdictLines({
    ok: true,
    pace: "real",
    memory: "isolated",
    cards: [CARD, { ...CARD, restBytes: 3 }],
    steps: {},
    ms: 1,
  }).join("\n");
  assert(/equals in.wav, without its last 3 bytes: not a whole frame$/m.test(text), text);
  assert(/the output equals every whole frame of the input, bit for bit$/.test(text), text);
});
