// SPDX-License-Identifier: Apache-2.0
// rust-vmm's vhost-device-sound with its PipeWire back-end, attached: a file of numbered frames, played by the driver
// and recorded from the monitor of the sink it ends in.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { attach } from "../../support/attachment.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { type Process, until } from "../../support/process.ts";
import { daemonPath } from "../../support/needs.ts";
import { DAEMON_LOG, playbacks, unexcused } from "./losses.ts";
import { numbersOf, RATE, writeNumbered } from "./numbered.ts";
import { PipeWireSession, QUANTUM } from "./pipewire.ts";

const SECONDS = 3;
/** As many frames as PipeWire moves at a time. */
const PERIOD = QUANTUM;
const PLAYBACK = { count: SECONDS * RATE, period: PERIOD, quantum: QUANTUM };

/** Starts the daemon in a session, to listen at `socket`. */
function startDaemon(session: PipeWireSession, socket: string): Process {
  const args = ["--socket", socket, "--backend", "pipewire"];
  return session.spawn(daemonPath("vhost-device-sound"), args, { RUST_LOG: DAEMON_LOG });
}

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`vhost-device-sound plays every frame but those it loses, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using session = await PipeWireSession.start();
      const file = session.folder.file("numbered.wav");
      writeNumbered(file, SECONDS * RATE);
      const socket = session.folder.file("snd");
      const daemon = startDaemon(session, socket);
      await using attachment = await attach({ kind: "sound", socket, memory });
      const recording = await session.record();
      const played = await attachment.guest.call("play", {
        file,
        periodFrames: PERIOD,
        periods: 8,
      });
      assertEquals([played.frames, played.ioErrors], [SECONDS * RATE, 0]);
      const heard = numbersOf(await recording.finish());
      const [taken] = playbacks(daemon.stderr);
      assertEquals(unexcused(heard, taken!, PLAYBACK), []);
    });
  });

  Deno.test(`vhost-device-sound killed in mid-play and started again plays on, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using session = await PipeWireSession.start();
      const file = session.folder.file("numbered.wav");
      writeNumbered(file, SECONDS * RATE);
      const socket = session.folder.file("snd");
      const first = startDaemon(session, socket);
      await using attachment = await attach({ kind: "sound", socket, memory });
      const { guest, events } = attachment;
      const playing = guest.call("play", { file, periodFrames: PERIOD, periods: 4 });
      await until(() => guest.progress.position >= RATE / 2, "the first half second");
      await first.stop("SIGKILL");
      const recording = await session.record();
      const second = startDaemon(session, socket);
      const played = await playing;
      assertEquals([played.frames, played.ioErrors], [SECONDS * RATE, 0]);
      assertEquals(events.filter(({ kind }) => kind === "resumed").length, 1);
      // What the first one had completed is not played again, and from there on all is there.
      const heard = numbersOf(await recording.finish());
      assert(heard[0]! >= RATE / 2 && heard[0]! % PERIOD === 0, `heard from frame ${heard[0]}`);
      const [taken] = playbacks(second.stderr);
      assertEquals(unexcused(heard, taken!, { ...PLAYBACK, first: heard[0]! }), []);
    });
  });

  Deno.test(`a player that starts as vhost-device-sound comes back is served, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using session = await PipeWireSession.start();
      const file = session.folder.file("numbered.wav");
      writeNumbered(file, RATE);
      const socket = session.folder.file("snd");
      const first = startDaemon(session, socket);
      await using attachment = await attach({ kind: "sound", socket, memory });
      const { guest } = attachment;
      const options = { file, periodFrames: PERIOD, periods: 4 };
      const killed = guest.call("play", options);
      await until(() => guest.progress.position > 0, "the first period");
      await first.stop("SIGKILL");
      const ended = assertRejects(() => killed, Error, "the application was killed");
      await guest.kill();
      await ended;
      const { messages } = guest.progress;
      const playing = guest.call("play", options);
      await until(() => guest.progress.messages > messages, "the next player's first message");
      startDaemon(session, socket);
      const { frames, ioErrors } = await playing;
      assertEquals([frames, ioErrors], [RATE, 0]);
    });
  });
}
