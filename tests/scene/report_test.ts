// SPDX-License-Identifier: Apache-2.0
// A demo's report: its figures, its pictures, and a page that shows the same.
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { DemoEvent } from "../../lib/scene/perform.ts";
import { type DemoReport, placesOf, reportOf } from "../../lib/scene/report/data.ts";
import { escaped, Html, markup } from "../../lib/scene/report/html.ts";
import { pageOf } from "../../lib/scene/report/page.ts";
import { wavePath } from "../../lib/scene/report/pictures.ts";
import { columnsOf } from "../../lib/scene/report/waveform.ts";
import type { WavFormat } from "../../lib/wav/mod.ts";

Deno.test("what is put into a template is escaped, unless it is HTML", () => {
  const evil = `<b title="x">&'`;
  assertEquals(
    markup`<p class="${evil}">${evil}</p>`.text,
    `<p class="${escaped(evil)}">${escaped(evil)}</p>`,
  );
  assertEquals(escaped(evil), "&lt;b title=&quot;x&quot;&gt;&amp;&#39;");
  assertEquals(
    markup`${[markup`<i>${1}</i>`, "<", null]}${new Html("<hr>")}`.text,
    "<i>1</i>&lt;<hr>",
  );
  assertEquals(escaped("a\u0000\u001bb\tc"), "a\ufffd\ufffdb\tc");
});

const S16: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 100 };

/** Stereo frames of which each has its value on the left, and the opposite on the right. */
function frames(values: readonly number[]): Uint8Array {
  const samples = Int16Array.from(values.flatMap((value) => [value, -value]));
  return new Uint8Array(samples.buffer);
}

Deno.test("a column has the lowest and the highest sample of its time, or nothing", () => {
  const samples = frames(Array.from({ length: 100 }, (_, i) => i < 50 ? 8192 : 16384));
  const places = [{ t: 1, frame: 0 }, { t: 1.5, frame: 50 }, { t: 2.5, frame: 50 }, {
    t: 3,
    frame: 100,
  }];
  assertEquals(columnsOf(samples, S16, places, 4, 8), [
    null,
    null,
    [-0.25, 0.25],
    null,
    null,
    [-0.5, 0.5],
    null,
    null,
  ]);
});

Deno.test("samples of every format are read as −1 to 1", () => {
  const table: [Omit<WavFormat, "channels" | "rate">, number[], number][] = [
    [{ encoding: "pcm", bits: 8 }, [0xc0], 0.5],
    [{ encoding: "pcm", bits: 16 }, [0x00, 0xc0], -0.5],
    [{ encoding: "pcm", bits: 24 }, [0x00, 0x00, 0x40], 0.5],
    [{ encoding: "pcm", bits: 24 }, [0x01, 0x00, 0xc0], -0.5 + 2 ** -23],
    [{ encoding: "pcm", bits: 32 }, [0x00, 0x00, 0x00, 0x80], -1],
    [{ encoding: "float", bits: 32 }, [0x00, 0x00, 0x00, 0xbf], -0.5],
    [{ encoding: "float", bits: 64 }, [0, 0, 0, 0, 0, 0, 0xe0, 0x3f], 0.5],
    // ITU-T G.711: the loudest of each, and silence.
    [{ encoding: "mulaw", bits: 8 }, [0x80], 32124 / 32768],
    [{ encoding: "mulaw", bits: 8 }, [0x00], -32124 / 32768],
    [{ encoding: "mulaw", bits: 8 }, [0xff], 0],
    [{ encoding: "alaw", bits: 8 }, [0xaa], 32256 / 32768],
    [{ encoding: "alaw", bits: 8 }, [0x2a], -32256 / 32768],
    [{ encoding: "alaw", bits: 8 }, [0xd5], 8 / 32768],
  ];
  for (const [format, bytes, value] of table) {
    const places = [{ t: 0, frame: 0 }, { t: 1, frame: 1 }];
    const all = { ...format, channels: 1, rate: 1 };
    const [column] = columnsOf(Uint8Array.from(bytes), all, places, 1, 1);
    assertEquals(column!.map((one) => one + 0), [value, value], JSON.stringify([format, bytes]));
  }
});

Deno.test("a waveform has a closed outline for each stretch that was recorded", () => {
  assertEquals(
    wavePath([null, [-1, 1], [0, 0.5], null, [-0.5, 0]]),
    "M300 0L500 25L500 50L300 100ZM900 50L900 75Z",
  );
  assertEquals(wavePath([null, null]), "");
});

const sample = (t: number, position: number, latencyMs = 20): DemoEvent => ({
  t,
  event: "sample",
  device: "music",
  state: "running",
  position,
  latencyMs,
});

const EVENTS: DemoEvent[] = [
  { t: -1, event: "connected", device: "music", text: "early" },
  { t: 0, event: "cue", cue: 0, kind: "play", device: "music", what: "tone" },
  sample(0.1, 5),
  { t: 0.2, event: "cue", cue: 1, kind: "kill", device: "music" },
  { t: 0.25, event: "lost", device: "music", text: "the back-end <closed> the connection" },
  { t: 0.3, event: "cue", cue: 2, kind: "start", device: "music" },
  { t: 0.4, event: "resumed", device: "music", text: "resumed" },
  { t: 0.5, event: "cue", cue: 3, kind: "pause", device: "music" },
  { t: 0.6, event: "cue", cue: 4, kind: "resume", device: "music" },
  { t: 0.7, event: "xrun", device: "music", text: "Stream 0 had no samples to play (1 times)" },
  { t: 0.8, event: "cue", cue: 5, kind: "caption", text: 'He said "no" & left' },
  sample(0.9, 80, 41.5),
  {
    t: 1,
    event: "played",
    cue: 0,
    device: "music",
    text: "played 100 frames, no xruns",
    frames: 100,
  },
  { t: 1.5, event: "disconnected", device: "music", text: "late" },
];

const REPORT: DemoReport = reportOf({
  title: "a <scene>",
  begun: "2026-11-28T12:00:00.000Z",
  verdicts: [
    {
      ok: true,
      expected: "the recording of music equals what was played",
      found: "100 frames are equal",
    },
    { ok: false, expected: "no xruns on music", found: "1 xruns, 0 underruns, 0 I/O errors" },
  ],
  events: EVENTS,
  sounds: [{
    device: "music",
    format: S16,
    input: frames(Array<number>(100).fill(9000)),
    recording: frames(Array<number>(100).fill(9000)),
  }],
  about: { viola: "1.2.3", CPUs: "2 × <fast>" },
});

Deno.test("a report's figures are those of the events", () => {
  const { ok, seconds, cues, notes, cards } = REPORT;
  assertEquals([ok, seconds, cues.length], [false, 1, 6]);
  assertEquals(cues.map(({ text }) => text), [
    "play tone",
    "kill",
    "start",
    "pause",
    "resume",
    'He said "no" & left',
  ]);
  assertEquals(notes.map(({ t }) => t), [0.25, 0.4, 0.7, 1]);
  const [{ columns, ...card }] = cards as [DemoReport["cards"][number]];
  assertEquals(columns.length, 500);
  const { latency, ...rest } = card;
  assertEquals(rest, {
    device: "music",
    format: "16-bit pcm, 2 channels, 100 Hz",
    recording: "music.wav",
    seconds: 1,
    outages: [{ from: 0.2, to: 0.4, hasEnded: true }],
    pauses: [{ from: 0.5, to: 0.6, hasEnded: true }],
    xruns: [0.7],
  });
  const { bars, ...figures } = latency!;
  assertEquals(figures, { count: 2, p50: 20, p99: 41.5, most: 41.5, barMs: 2 });
  assertEquals([bars[10], bars[20], bars.reduce((a, b) => a + b)], [1, 1, 2]);
});

Deno.test("a second playback goes on in the recording where the first ended", () => {
  const events: DemoEvent[] = [
    ...EVENTS,
    { t: 2, event: "cue", cue: 6, kind: "play", device: "music", what: "tone" },
    { ...sample(2.1, 10) },
    { t: 3, event: "played", cue: 6, device: "music", frames: 50 },
  ];
  assertEquals(placesOf("music", events), [
    { t: 0, frame: 0 },
    { t: 0.1, frame: 5 },
    { t: 0.9, frame: 80 },
    { t: 1, frame: 100 },
    { t: 2, frame: 100 },
    { t: 2.1, frame: 110 },
    { t: 3, frame: 150 },
  ]);
});

Deno.test("what has not come back is away until the end", () => {
  const events = EVENTS.filter(({ event }) => event !== "resumed");
  const { cards } = reportOf({
    ...{ title: "", begun: "", verdicts: [], about: {} },
    events,
    sounds: [{ device: "music", format: S16, input: frames([1]), recording: frames([1]) }],
  });
  assertEquals(cards[0]!.outages, [{ from: 0.2, to: 1, hasEnded: false }]);
});

/** The text of a page's cells, without tags. */
function cellsOf(page: string): string[] {
  return [...page.matchAll(/<td[^>]*>(.*?)<\/td>/gs)].map(([, cell]) =>
    cell!.replaceAll(/<[^>]+>/g, "")
  );
}

const PAGE = pageOf(REPORT);

Deno.test("the page shows the report's figures, escaped", () => {
  const cells = cellsOf(PAGE);
  for (const { expected, found } of REPORT.verdicts) {
    assert(cells.includes(escaped(expected)) && cells.includes(escaped(found)), expected);
  }
  for (const { t, text } of [...REPORT.cues, ...REPORT.notes]) {
    assert(cells.includes(`${t.toFixed(3)} s`) && cells.includes(escaped(text)), text);
  }
  const { count, p50, p99, most } = REPORT.cards[0]!.latency!;
  const at = cells.indexOf("music", cells.lastIndexOf("played 100 frames, no xruns"));
  assertEquals(cells.slice(at + 1, at + 5), [count, p50, p99, most].map(String));
  for (const [name, value] of Object.entries(REPORT.about)) {
    assertEquals(cells[cells.indexOf(name) + 1], escaped(value));
  }
  assertMatch(PAGE, /<h1>a &lt;scene&gt;<\/h1>\n<p class="bad">Not all expectations hold/);
  assertMatch(PAGE, /The back-end was away from 0.200 s to 0.400 s, for 0.200 s\./);
  assertMatch(PAGE, /An underrun was reported at 0.700 s\./);
  assertEquals(PAGE.match(/✓ holds|✗ does not hold/g), ["✓ holds", "✗ does not hold"]);
});

Deno.test("the page is one file without a script, its tags are closed, and a recording is beside it", () => {
  assert(
    !/<script|javascript:|\son\w+=|https?:|@import|url\(/i.test(PAGE),
    "no script, nothing from elsewhere",
  );
  assertMatch(PAGE, /<audio controls preload="none" src="music.wav"/);
  const open: string[] = [];
  for (
    const [, end, name, empty] of PAGE.matchAll(/<(\/?)([a-z][a-z0-9]*)(?:\s[^<>]*?)?(\/?)>/gi)
  ) {
    if (empty === "/" || ["meta", "hr"].includes(name!)) continue;
    if (end === "/") assertEquals(open.pop(), name, `</${name}>`);
    else open.push(name!);
  }
  assertEquals(open, []);
  for (const wanted of ["width=device-width", "prefers-color-scheme: dark", "@media print"]) {
    assert(PAGE.includes(wanted), wanted);
  }
});

Deno.test("pictures lie within their borders, and have what happened", () => {
  for (
    const [, x, width] of PAGE.matchAll(
      /<rect class="\w+" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g,
    )
  ) {
    assert(Number(x) >= 0 && Number(x) + Number(width) <= 1000, `${x} + ${width}`);
  }
  assertMatch(PAGE, /<rect class="outage" x="200" y="0" width="200"/);
  assertMatch(PAGE, /<rect class="pause" x="500" y="0" width="100"/);
  assertMatch(PAGE, /<path class="xrun" d="M700 0V16.67"\/>/);
  assertEquals(PAGE.match(/<path class="cue"/g)?.length, 6);
});

Deno.test("a report of nothing is a page too", () => {
  const empty = reportOf({
    ...{ title: "nothing", begun: "", verdicts: [], events: [], sounds: [], about: {} },
  });
  assertEquals(empty.ok, true);
  assertMatch(pageOf(empty), /All expectations hold/);
});
