// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { Card } from "./card.ts";
import { PERIOD, S_OK, samplesOf, withFolder } from "./device_fixture.ts";

// ---- capture ----

Deno.test("capture: a file at its rate, then silence", () => {
  withFolder((folder) => {
    const source = "/usr/share/sounds/alsa/Noise.wav";
    const sound = samplesOf(source);
    const period = 9600;
    const count = Math.ceil(sound.length / period) + 1;
    void folder;
    using card = new Card({ sinks: [], sources: [`wav:${source}`] });
    card.prepare({ channels: 1, periodBytes: period, bufferBytes: 4 * period });
    for (let i = 0; i < 4; i++) card.capture(period);
    card.clock.pass(1000);
    assertEquals(card.done(), []);
    card.control(snd.R_PCM_START, 0);
    const heard: number[] = [];
    for (let i = 0; i < count; i++) {
      card.clock.pass(99.9);
      assertEquals(card.done(), []);
      card.clock.pass(0.1);
      const [done] = card.done();
      assertEquals([done!.status, done!.length], [S_OK, period + 8]);
      heard.push(...done!.samples);
      card.capture(period);
    }
    assertEquals(heard, [...sound, ...new Array(count * period - sound.length).fill(0)]);
    card.control(snd.R_PCM_STOP, 0);
    card.control(snd.R_PCM_RELEASE, 0);
    const rest = card.done();
    assertEquals(rest.map(({ status, length }) => [status, length]), new Array(4).fill([S_OK, 8]));
    assertEquals(card.reported("xrun"), []);
  });
});

Deno.test("capture: silence is the format's own", () => {
  for (const [name, byte] of [["U8", 0x80], ["MU_LAW", 0xff], ["A_LAW", 0xd5], ["S32", 0]]) {
    using card = new Card({ sinks: [], sources: ["silence"], pace: "free" });
    const format = snd.SAMPLE_FORMATS.findIndex((row) => row.name === name);
    card.prepare({ format, periodBytes: 80, bufferBytes: 160 });
    card.control(snd.R_PCM_START, 0);
    card.capture(80);
    assertEquals(card.done()[0]!.samples, new Uint8Array(80).fill(byte as number));
  }
  using card = new Card({ sinks: [], sources: ["silence"], pace: "free" });
  card.prepare({ format: 12, channels: 1, periodBytes: 150, bufferBytes: 300 });
  card.control(snd.R_PCM_START, 0);
  card.capture(150);
  const expected = Uint8Array.from({ length: 150 }, (_, i) => i % 3 === 2 ? 0x80 : 0);
  assertEquals(card.done()[0]!.samples, expected);
});

Deno.test("capture: no buffer to fill is an xrun", () => {
  using card = new Card({ sinks: [], sources: ["silence"] });
  card.offerEvents(1);
  card.prepare();
  card.capture(PERIOD);
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(12);
  card.capture(PERIOD);
  assertEquals(card.takeEvents(), [[snd.EVT_PCM_XRUN, 0]]);
  card.clock.pass(9.9);
  assertEquals(card.done().length, 1);
  card.clock.pass(0.2);
  assertEquals(card.done().length, 1);
});
