// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { GuestError } from "../../../lib/guest/error.ts";
import { ORDER } from "../../../lib/guest/progress.ts";
import { RingError } from "../../../lib/virtio/error.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { WavError, type WavFormat } from "../../../lib/wav/mod.ts";
import type { Script } from "../../guest/fake_device.ts";
import { soundBench, withFolder } from "../../guest/harness.ts";
import { readSamples, writeNumbered } from "../../guest/numbered.ts";
import { RINGS, S16 } from "./driver_fixture.ts";

Deno.test("control messages fail with the errno that Linux has for them", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 1000);
    const cases = [
      [snd.S_NOT_SUPP, "EOPNOTSUPP", "NOT_SUPP"],
      [snd.S_IO_ERR, "EIO", "IO_ERR"],
      [snd.S_BAD_MSG, "EINVAL", "BAD_MSG"],
      [0, "EINVAL", "0x0000"],
    ] as const;
    for (const [status, code, name] of cases) {
      const { session } = soundBench({ script: { answers: { [snd.R_PCM_PREPARE]: status } } });
      session.probe(0);
      const error = assertThrows(() => session.play({ file }), GuestError);
      assertEquals(
        error.message,
        `Cannot get PCM_PREPARE for stream 0 done by card0: the device returned ${name}, expected OK (${code})`,
      );
    }
  });
});

Deno.test("a control message without an answer times out, and its late answer does no harm", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 1000);
    const { port, session } = soundBench({ script: { mute: [snd.R_PCM_START] } });
    session.probe(0);
    const error = assertThrows(() => session.play({ file, periodFrames: 200 }), GuestError);
    assertEquals(
      error.message,
      "Cannot get PCM_START for stream 0 done by card0: no answer within 250 ms (ETIMEDOUT)",
    );
    // The application closed the card: what was queued came back by RELEASE, unplayed.
    assertEquals(port.device.sound.controls.at(-1), "PCM_RELEASE");
    delete port.device.script.mute;
    port.device.sound.answerMuted();
    port.device.sound.played.length = 0;
    session.play({ file, periodFrames: 200 });
    assertEquals(port.device.sound.playedBytes, bytes);
  });
});

Deno.test("unanswered messages fill the control queue and no more, until they are answered", () => {
  const mute = [snd.R_PCM_SET_PARAMS];
  const { port, session } = soundBench({ queueSize: 4, script: { mute } });
  session.probe(0);
  const options = { periodFrames: 10, frames: 1, format: S16, file: "/dev/null/out.wav" };
  const attempt = () => assertThrows(() => session.capture(options));
  const codes = Array.from({ length: 4 }, () => (attempt() as GuestError).code);
  assertEquals(codes, ["ETIMEDOUT", "ETIMEDOUT", "ENOSPC", "ENOSPC"]);
  mute.length = 0;
  port.device.sound.answerMuted();
  session.onInterrupt();
  assert(attempt() instanceof WavError);
});

Deno.test("a device that returns no buffer is waited for until the deadline", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 5000);
    const { port, session, progress } = soundBench({ script: { grant: 3 } });
    session.probe(0);
    const error = assertThrows(
      () => session.play({ file, periodFrames: 500, periods: 4 }),
      GuestError,
      "Cannot use stream 0 of card0: the device keeps 4 messages for 250 ms (EIO)",
    );
    assertEquals(error.code, "EIO");
    assertEquals(progress.read("position"), 1500);
    assertEquals(port.device.sound.controls.slice(-2), ["PCM_STOP", "PCM_RELEASE"]);
  });
});

Deno.test("xruns, errors and empty rings are counted", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 2000);
    const { session } = soundBench({ script: { xrunAt: 3, ioStatus: snd.S_IO_ERR } });
    session.probe(0);
    const result = session.play({ file, periodFrames: 500, periods: 2 });
    assertEquals(result.xruns, 1);
    assertEquals(result.ioErrors, 4);
    // This device plays all it has at once: before each refill there was nothing left.
    assertEquals(result.underruns, 1);
    session.play({ file });
    assertEquals(session.progress.get("xruns"), 0);
  });
});

Deno.test("jack events are followed, for jacks that there are", () => {
  const { port, session } = soundBench();
  session.probe(0);
  const isConnected = () => session.info.jacks[0]!.connected;
  port.device.sound.sendEvent(snd.EVT_JACK_DISCONNECTED, 0);
  session.onInterrupt();
  assertEquals(isConnected(), false);
  port.device.sound.sendEvent(snd.EVT_JACK_CONNECTED, 0);
  port.device.sound.sendEvent(snd.EVT_JACK_DISCONNECTED, 7);
  port.device.sound.sendEvent(0x4242, 0);
  session.onInterrupt();
  assertEquals(isConnected(), true);
  // Each buffer goes back to the device.
  for (let i = 0; i < 300; i++) {
    assert(port.device.sound.sendEvent(snd.EVT_JACK_DISCONNECTED, 0));
    session.onInterrupt();
    port.device.run();
  }
  assertEquals(isConnected(), false);
});

Deno.test("a recording has exactly as many frames as were asked for", async () => {
  await withFolder((folder) => {
    const file = `${folder}/out.wav`;
    for (const rings of RINGS) {
      for (const frames of [1, 960, 961, 5 * 960 - 1]) {
        const { session } = soundBench(rings);
        session.probe(0);
        const buffer = { periodFrames: 960, periods: 3 };
        const result = session.capture({ file, frames, format: S16, ...buffer });
        assertEquals(result.frames, frames);
        const expected = Uint8Array.from({ length: 4 * frames }, (_, i) => i % 251);
        assertEquals(readSamples(file), expected, `${frames} frames, ${JSON.stringify(rings)}`);
      }
    }
  });
});

Deno.test("a captured message counts by what the device wrote", async () => {
  await withFolder((folder) => {
    const file = `${folder}/out.wav`;
    const { session } = soundBench({ script: { rxBytes: 100 } });
    session.probe(0);
    const format: WavFormat = { encoding: "pcm", bits: 16, channels: 1, rate: 8000 };
    const result = session.capture({ file, frames: 120, format, periodFrames: 960 });
    assertEquals(result.frames, 120);
    assertEquals(readSamples(file), Uint8Array.from({ length: 240 }, (_, i) => i % 251));
  });
});

Deno.test("a recording of no frames, or by a card that cannot, leaves no file", async () => {
  await withFolder((folder) => {
    const file = `${folder}/out.wav`;
    const attempt = (script: Script, frames: number, text: string): void => {
      const { session } = soundBench({ script });
      session.probe(0);
      assertThrows(() => session.capture({ file, frames, format: S16 }), GuestError, text);
      assertThrows(() => Deno.statSync(file), Deno.errors.NotFound);
    };
    attempt({}, 0, "record 0 frames");
    attempt({}, 1.5, "record 1.5 frames");
    attempt({ config: [0, 1, 0] }, 10, "it has no such stream (ENODEV)");
    attempt({ pcmInfo: { channelsMin: 3 } }, 10, "it has 2 channels, expected 3 to 8");
  });
});

Deno.test("a probe fails on invalid stream information", () => {
  const cases: [Script["pcmInfo"], string][] = [
    [{ channelsMin: 0 }, "its stream 0 has 0 to 8 channels"],
    [{ channelsMin: 9 }, "its stream 0 has 9 to 8 channels"],
    [{ formats: 1n << 60n }, "its stream 0 has no known sample format: 0x1000000000000000"],
    [{ rates: 0n }, "its stream 0 has no known frame rate: 0x0"],
    [{ direction: 2 }, "its stream 0 has direction 2, expected 0 or 1"],
  ];
  for (const [pcmInfo, text] of cases) {
    const { session } = soundBench({ script: { pcmInfo: pcmInfo! } });
    assertThrows(() => session.probe(0), GuestError, text);
  }
});

Deno.test("a card may have nothing at all", () => {
  const { port, session } = soundBench({ script: { config: [0, 0, 0] } });
  session.probe(0);
  assertEquals(port.device.sound.controls, []);
  const capture = { file: "/dev/null/x.wav", frames: 1, format: S16 };
  assertThrows(() => session.capture(capture), GuestError, "it has no such stream (ENODEV)");
});

Deno.test("a malformed used ring is found", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 1000);
    for (const fault of ["usedHead", "usedIdx", "usedLength"] as const) {
      const { port, session } = soundBench();
      session.probe(0);
      port.device.script.corrupt = fault;
      assertThrows(() => session.play({ file }), RingError, "queue 0 of card0");
    }
  });
});

Deno.test("stop() ends a playback in order, and the result says what was played", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 5000);
    const { port, session, progress } = soundBench({ script: { grant: 3 } });
    session.probe(0);
    const run = port.device.run.bind(port.device);
    port.device.run = () => {
      run();
      if (progress.read("position") === 1500) progress.set("order", ORDER.stop);
    };
    const result = session.play({ file, periodFrames: 500, periods: 4 });
    assertEquals(result.stopped, true);
    assertEquals(result.frames, 1500);
    assertEquals(port.device.sound.playedBytes, bytes.subarray(0, 6000));
    assertEquals(port.device.sound.controls.slice(-2), ["PCM_STOP", "PCM_RELEASE"]);
  });
});

Deno.test("after a reset during playback the next playback is complete", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 5000);
    for (const rings of RINGS) {
      const { port, session, progress } = soundBench({ ...rings, script: { grant: 3 } });
      session.probe(0);
      const run = port.device.run.bind(port.device);
      port.device.run = () => {
        run();
        if (progress.read("position") === 1500) progress.set("order", ORDER.drop);
      };
      const buffer = { periodFrames: 500, periods: 4 };
      assertThrows(() => session.play({ file, ...buffer }), Error, "reset during the call");
      assertEquals(port.device.sound.controls.at(-1), "PCM_START");
      progress.set("order", ORDER.none);
      port.device.run = run;
      session.reset();
      port.device.sound.played.length = 0;
      port.device.sound.grant(Infinity);
      session.probe(0);
      assertEquals(session.play({ file, ...buffer }).frames, 5000);
      assertEquals(port.device.sound.playedBytes, bytes);
      assertEquals(port.device.log.bad, []);
      assertEquals(port.device.log.ringErrors, []);
    }
  });
});

Deno.test("however long the file, only one buffer of memory is used", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 400_000);
    const memorySize = 128 << 10;
    const { port, session } = soundBench({}, memorySize);
    session.probe(0);
    for (let i = 0; i < 3; i++) {
      port.device.sound.played.length = 0;
      session.play({ file, periodFrames: 2000, periods: 4 });
      assertEquals(port.device.sound.playedBytes, bytes);
    }
    assert(bytes.length > 10 * memorySize);
  });
});

Deno.test("a reset that comes between two waits sends the device nothing more", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 5000);
    const { port, session, progress } = soundBench({ script: { grant: 3 } });
    session.probe(0);
    // The order comes within the interrupt that ends the wait for START's answer.
    const write = port.write.bind(port);
    port.write = (offset, size, value) => {
      if (offset === 0x064 && port.device.sound.controls.at(-1) === "PCM_START") {
        progress.set("order", ORDER.drop);
      }
      write(offset, size, value);
    };
    const play = () => session.play({ file, periodFrames: 500, periods: 4 });
    assertThrows(play, Error, "reset during the call");
    assertEquals(progress.state, "running");
    assertEquals(port.accesses.at(-1), "W 0x064 = 0x1");
  });
});
