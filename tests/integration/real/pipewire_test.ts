// SPDX-License-Identifier: Apache-2.0
// The measuring instrument itself, without viola: what PipeWire plays is what the recording holds.
import { assertEquals } from "@std/assert";
import { withoutLeaks } from "../../support/leaks.ts";
import { numbersOf, RATE, writeNumbered } from "./numbered.ts";
import { PipeWireSession } from "./pipewire.ts";

Deno.test("pw-play into the null sink is recorded bit for bit", async () => {
  await withoutLeaks(async () => {
    await using session = await PipeWireSession.start();
    const file = session.folder.file("numbered.wav");
    // pw-play ends without waiting for what it queued last: that shall be silence.
    writeNumbered(file, 2 * RATE, RATE / 2);
    const recording = await session.record();
    const player = session.spawn("pw-play", ["--target", "card", file]);
    assertEquals((await player.end()).success, true, player.report());
    const heard = numbersOf(await recording.finish());
    assertEquals(heard, Array.from({ length: 2 * RATE }, (_, i) => i));
  });
});
