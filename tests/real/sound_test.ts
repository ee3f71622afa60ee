// SPDX-License-Identifier: Apache-2.0
// rust-vmm's vhost-device-sound with its PipeWire back-end, attached: a file of numbered frames, played by the driver and
// recorded from the monitor of the sink it ends in.
import { assertEquals } from "@std/assert";
import { attach } from "../support/attachment.ts";
import { socketsIn, withoutLeaks } from "../support/leaks.ts";
import { daemonPath } from "./daemons.ts";
import { unexcused } from "./losses.ts";
import { numbersOf, RATE, writeNumbered } from "./numbered.ts";
import { PipeWireSession, QUANTUM } from "./pipewire.ts";

const SECONDS = 3;
/** As many frames as PipeWire moves at a time. */
const PERIOD = QUANTUM;

/** Starts the daemon in a session. @returns the socket it listens at */
async function startDaemon(session: PipeWireSession): Promise<string> {
  const socket = session.folder.file("snd");
  const args = ["--socket", socket, "--backend", "pipewire"];
  const daemon = session.spawn(daemonPath("vhost-device-sound"), args);
  await daemon.until(() => socketsIn(session.folder.path).includes("snd"), "its socket");
  return socket;
}

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`vhost-device-sound plays every frame but those it loses, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using session = await PipeWireSession.start();
      const file = session.folder.file("numbered.wav");
      writeNumbered(file, SECONDS * RATE);
      const socket = await startDaemon(session);
      await using attachment = await attach({ kind: "sound", socket, memory });
      const recording = await session.record();
      const played = await attachment.guest.play({ file, periodFrames: PERIOD, periods: 8 });
      assertEquals([played.frames, played.ioErrors], [SECONDS * RATE, 0]);
      const heard = numbersOf(await recording.finish());
      assertEquals(unexcused(heard, SECONDS * RATE, PERIOD), []);
    });
  });
}
