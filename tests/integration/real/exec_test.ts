// SPDX-License-Identifier: Apache-2.0
// A card whose sink is PipeWire's own player.
import { assertEquals } from "@std/assert";
import { parseSink } from "../../../lib/classes/sound/spec.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { Card, PARAMS } from "../../classes/sound/card.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { FIRST, numbersOf, RATE } from "./numbered.ts";
import { PipeWireSession } from "./pipewire.ts";

Deno.test("a sink of PipeWire plays what it gets, bit for bit", async () => {
  await withoutLeaks(async () => {
    await using session = await PipeWireSession.start();
    const recording = await session.record();
    const settings = Object.entries(session.env).map(([name, value]) => `${name}='${value}'`);
    const { command } = parseSink("pipewire:card,name=cabin,role=Navigation") as {
      command: string;
    };
    using card = new Card({
      sinks: [`exec:export ${settings.join(" ")}; ${command}`],
      pace: "free",
    });
    card.prepare({ bufferBytes: 2 ** 20 });
    card.control(snd.R_PCM_START, 0);
    // pw-cat ends without waiting for what it queued last: that shall be silence.
    const frames = Uint32Array.from(
      { length: 2.5 * RATE },
      (_, i) => i < 2 * RATE ? FIRST + i : 0,
    );
    const sound = new Uint8Array(frames.buffer);
    for (let at = 0; at < sound.length; at += PARAMS.periodBytes) {
      card.play(sound.subarray(at, at + PARAMS.periodBytes));
      while (card.done().length === 0) card.dispatch(100);
    }
    card.control(snd.R_PCM_STOP, 0);
    card.control(snd.R_PCM_RELEASE, 0);
    card.finish();
    assertEquals(card.reported("error"), []);
    const heard = numbersOf(await recording.finish());
    assertEquals(heard, Array.from({ length: 2 * RATE }, (_, i) => i));
  });
});
