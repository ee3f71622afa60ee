// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { playbacks, type Request, unexcused } from "./losses.ts";

/** Four periods of four frames: 0 … 15, of which the daemon gives PipeWire 0 1 2, 4 5 6, 8 9 10, 12 13 14. */
const PLAYBACK = { count: 16, period: 4, quantum: 4 };
const FRAMES = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14];
const REQUESTS = new Array<Request>(4).fill({ pos: 12, len: 12 });

const check = (heard: number[], requests = REQUESTS) => unexcused(heard, requests, PLAYBACK);

Deno.test("unexcused() excuses the last frame of a request, and one quantum at the end", () => {
  assertEquals(check(FRAMES), []);
  assertEquals(check(FRAMES.slice(0, 8)), []);
  const later = { ...PLAYBACK, first: 4, count: 15 };
  const requests = [{ pos: 12, len: 12 }, { pos: 12, len: 12 }, { pos: 8, len: 8 }];
  assertEquals(unexcused([4, 5, 6, 8, 9, 10, 12, 13], requests, later), []);
});

Deno.test("unexcused() names every other fault of what was heard", () => {
  const cases: [number[], string[]][] = [
    [FRAMES.slice(1, 9), ["frame 1 came, 0 was expected, after 0 frames"]],
    [FRAMES.with(4, 4).slice(0, 8), ["frame 4 came, 5 was expected, after 4 frames"]],
    [[...FRAMES, 0, 1, 2, 4], [
      "frame 0 came, none was expected, after 12 frames",
      "16 frames were heard, expected 3 times 4, or once less",
    ]],
    [FRAMES.slice(0, 4), ["4 frames were heard, expected 3 times 4, or once less"]],
    [FRAMES.slice(0, 11), ["11 frames were heard, expected 3 times 4, or once less"]],
    [[], ["0 frames were heard, expected 3 times 4, or once less"]],
  ];
  for (const [heard, wrong] of cases) assertEquals(check(heard), wrong);
});

Deno.test("unexcused() does not excuse samples that the daemon never got, or dropped", () => {
  assertEquals(check(FRAMES.slice(0, 8), REQUESTS.slice(1)), [
    "the daemon got 3 requests of 48 bytes, expected 4 of 64",
  ]);
  const cut = REQUESTS.with(3, { pos: 0, len: 12 });
  assertEquals(check(FRAMES.slice(0, 8), cut), ["the daemon took 0 of 12 bytes of request 3"]);
});

Deno.test("playbacks() finds what the daemon took, by playback", () => {
  const request = (pos: number) =>
    `[… TRACE vhost_device_sound::stream] dropping Output request Request { pos: ${pos}, len: 12, ` +
    "direction: Output, message: 0x7f230c027c20 }";
  const start = "[… DEBUG vhost_device_sound::audio_backends::pipewire] pipewire start";
  const log = [start, request(12), request(8), "pipewire stop", start, request(0), ""].join("\n");
  assertEquals(playbacks(log), [
    [{ pos: 12, len: 12 }, { pos: 8, len: 12 }],
    [{ pos: 0, len: 12 }],
  ]);
});
