// SPDX-License-Identifier: Apache-2.0
// The guest as a thread on a soft node, with a scripted device on another.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { rng, sound } from "../../lib/classes/mod.ts";
import { type Guest, type GuestOptions, startGuest } from "../../lib/guest/mod.ts";
import { SoftNode } from "../../lib/loopback/soft.ts";
import { EVT_JACK_DISCONNECTED, R_PCM_PREPARE } from "../../lib/classes/sound/wire.ts";
import type { WavFormat } from "../../lib/wav/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { until } from "../support/process.ts";
import { Adapter } from "./adapter.ts";
import type { FakeOptions } from "./fake_device.ts";
import { withFolder } from "./harness.ts";
import { readSamples, writeNumbered } from "./numbered.ts";

const S16: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };
const BUFFER = { periodFrames: 500, periods: 4 };
const MEMORY = 4 << 20;

interface Rig {
  node: SoftNode;
  adapter: Adapter;
  guest: Guest<typeof sound>;
  folder: string;
}

/** A card that is there and a guest that has not looked yet; afterwards, nothing is left of them. */
async function withCard(
  body: (rig: Rig) => Promise<void>,
  device: Partial<FakeOptions> = {},
  options: GuestOptions = {},
): Promise<void> {
  await withFolder((folder) =>
    withoutLeaks(async () => {
      using node = new SoftNode(MEMORY);
      await using adapter = await Adapter.attach(node, {
        kind: "sound",
        mmioVersion: 2,
        ...device,
      });
      await using guest = await startGuest(sound, node.wires, { name: "card0", ...options });
      adapter.appear();
      await body({ node, adapter, guest, folder });
    })
  );
}

/** Waits until the guest has got so far. */
async function reached(guest: Guest<typeof sound>, position: number): Promise<void> {
  await until(() => guest.progress.position >= position, `frame ${position}`);
}

Deno.test("a guest plays and records through a soft node", async () => {
  for (
    const device of [{ mmioVersion: 1 }, {
      mmioVersion: 2,
      indirect: true,
      eventIdx: true,
    }] as const
  ) {
    await withCard(async ({ adapter, guest, folder }) => {
      assertEquals(guest.progress.state, "unbound");
      const found = await guest.probe();
      assertEquals(found.version, device.mmioVersion);
      assertEquals(found.streams.length, 2);
      assertEquals(guest.progress.state, "bound");
      const bytes = writeNumbered(`${folder}/in.wav`, S16, 20_000);
      const result = await guest.call("play", { file: `${folder}/in.wav`, ...BUFFER });
      assertEquals(result.frames, 20_000);
      const seen = await adapter.seen();
      assertEquals(seen.playedBytes, bytes);
      assertEquals([seen.bad, seen.ringErrors], [[], []]);
      assertEquals(guest.progress.position, 20_000);
      assert(guest.progress.interrupts > 0);
      const recording = { file: `${folder}/out.wav`, frames: 1234, format: S16 };
      assertEquals((await guest.call("capture", recording)).frames, 1234);
      assertEquals(readSamples(recording.file).length, 4 * 1234);
    }, device);
  }
});

Deno.test("a guest waits for its device to appear, no longer than its timeout", async () => {
  await withoutLeaks(async () => {
    using node = new SoftNode(MEMORY);
    await using guest = await startGuest(sound, node.wires, { name: "card0" });
    await assertRejects(() => guest.probe(10), Error, "it did not appear in 10 ms (ETIMEDOUT)");
    await using adapter = await Adapter.attach(node, { kind: "sound", mmioVersion: 1 });
    const probe = guest.probe();
    adapter.appear();
    assertEquals((await probe).deviceId, 25);
    await guest.close(); // Before its device: an interrupt that is left would wait for an answer.
  });
});

Deno.test("a guest that waits for its device can be reset and closed", async () => {
  await withoutLeaks(async () => {
    using node = new SoftNode(MEMORY);
    const guest = await startGuest(sound, node.wires);
    const waiting = assertRejects(() => guest.probe(60_000), Error, "reset during the call");
    await guest.reset();
    await waiting;
    const again = assertRejects(() => guest.probe(60_000), Error, "reset during the call");
    await guest.close();
    await again;
  });
});

Deno.test("a guest is reset in mid-play, probes anew, and plays again", async () => {
  await withCard(async ({ adapter, guest, folder }) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 10_000);
    for (let round = 1; round <= 3; round++) {
      await guest.probe();
      const play = assertRejects(
        () => guest.call("play", { file, ...BUFFER }),
        Error,
        "reset during the call",
      );
      await reached(guest, 1500);
      await guest.reset();
      await play;
      assertEquals(guest.progress.state, "unbound");
      const { resets, controls, status } = await adapter.seen();
      assertEquals(resets, 2 * round);
      assertEquals([controls.at(-1), status], ["PCM_START", 0]);
      await adapter.grant(3);
    }
    await guest.probe();
    const before = (await adapter.seen()).playedBytes.length;
    await adapter.grant(1000);
    assertEquals((await guest.call("play", { file, ...BUFFER })).frames, 10_000);
    const seen = await adapter.seen();
    assertEquals(seen.playedBytes.subarray(before), bytes);
    assertEquals([seen.bad, seen.ringErrors], [[], []]);
  }, { script: { grant: 3 } });
});

Deno.test("a guest is unbound in mid-play in order, bound again, and plays again", async () => {
  await withCard(async ({ adapter, guest, folder }) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 10_000);
    await guest.probe();
    const play = guest.call("play", { file, ...BUFFER });
    await reached(guest, 1500);
    await guest.unbind();
    const result = await play;
    assertEquals([result.stopped, result.frames], [true, 1500]);
    assertEquals(guest.progress.state, "unbound");
    const seen = await adapter.seen();
    assertEquals(seen.controls.slice(-2), ["PCM_STOP", "PCM_RELEASE"]);
    assertEquals(seen.status, 1);
    await guest.probe();
    await adapter.grant(1000);
    assertEquals((await guest.call("play", { file, ...BUFFER })).stopped, false);
    assertEquals((await adapter.seen()).playedBytes.subarray(6000), bytes);
  }, { script: { grant: 3 } });
});

Deno.test("a playback is stopped, and another may follow", async () => {
  await withCard(async ({ adapter, guest, folder }) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 10_000);
    await guest.probe();
    const play = guest.call("play", { file, ...BUFFER });
    await assertRejects(() => guest.probe(), Error, "another call is running");
    await reached(guest, 1500);
    await guest.stop();
    assertEquals((await play).stopped, true);
    await guest.stop();
    await adapter.grant(1000);
    assertEquals((await guest.call("play", { file, ...BUFFER })).frames, 10_000);
  }, { script: { grant: 3 } });
});

Deno.test("a playback pauses, goes on, and is ended while it pauses", async () => {
  await withCard(async ({ adapter, guest, folder }) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 10_000);
    await guest.probe();
    assertThrows(() => guest.pause(), Error, "no call is running");
    const play = guest.call("play", { file, ...BUFFER });
    await reached(guest, 1500);
    assertThrows(() => guest.resume(), Error, "no call is paused");
    guest.pause();
    await until(() => guest.progress.state === "stopped", "the pause");
    assertEquals((await adapter.seen()).controls.at(-1), "PCM_STOP");
    await adapter.grant(1);
    guest.resume();
    await reached(guest, 2000);
    guest.pause();
    await until(() => guest.progress.state === "stopped", "the second pause");
    await guest.stop();
    assertEquals((await play).stopped, true);
    const { controls } = await adapter.seen();
    assertEquals(
      controls.slice(-6),
      [
        "PCM_START",
        "PCM_STOP",
        "PCM_START",
        "PCM_STOP",
        "PCM_START",
        "PCM_STOP",
        "PCM_RELEASE",
      ].slice(-6),
    );
    await adapter.grant(1000);
    assertEquals((await guest.call("play", { file, ...BUFFER })).frames, 10_000);
  }, { script: { grant: 3 } });
});

Deno.test("a guest is closed in mid-play", async () => {
  await withCard(async ({ guest, folder }) => {
    writeNumbered(`${folder}/in.wav`, S16, 10_000);
    await guest.probe();
    const options = { file: `${folder}/in.wav`, ...BUFFER };
    const play = assertRejects(
      () => guest.call("play", options),
      Error,
      "reset during the call",
    );
    await reached(guest, 1500);
    await guest.close();
    await play;
  }, { script: { grant: 3 } });
});

Deno.test("a guest waits for a slow device as long as its timeout", async () => {
  await withCard(async ({ adapter, guest, folder }) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 10_000);
    await guest.probe();
    const play = guest.call("play", { file, ...BUFFER });
    for (let given = 1; given <= 10; given++) {
      await reached(guest, 1000 * (given - 1));
      await adapter.grant(2);
    }
    assertEquals((await play).frames, 10_000);
    assertEquals((await adapter.seen()).playedBytes, bytes);
  }, { script: { grant: 0 } });
});

Deno.test("interrupts that come while nothing is asked of a guest are handled", async () => {
  await withCard(async ({ adapter, guest }) => {
    await guest.probe();
    const send = () => adapter.sendEvent(EVT_JACK_DISCONNECTED, 0);
    // More than the driver has buffers: it hands each back before the next can be sent.
    for (let i = 0; i < 100; i++) await until(send, "a buffer for an event");
    const hasNotified = async () => (await adapter.seen()).notifications.includes(1);
    await until(hasNotified, "an event buffer that comes back");
    assertEquals((await adapter.seen()).ringErrors, []);
  });
});

Deno.test("a malformed ring outside a call is reported", async () => {
  const trouble = Promise.withResolvers<string>();
  await withCard(
    async ({ adapter, guest, folder }) => {
      writeNumbered(`${folder}/in.wav`, S16, 1000);
      await guest.probe();
      // Its answer comes after the guest stopped waiting for it.
      await assertRejects(
        () => guest.call("play", { file: `${folder}/in.wav` }),
        Error,
        "ETIMEDOUT",
      );
      await adapter.script({ mute: [], corrupt: "usedHead" });
      await assertRejects(
        () => guest.call("play", { file: `${folder}/in.wav` }),
        Error,
        "queue 0 of card0",
      );
      assert(await adapter.sendEvent(EVT_JACK_DISCONNECTED, 0));
      assert((await trouble.promise).includes("queue 0 of card0"));
    },
    { script: { mute: [R_PCM_PREPARE] } },
    { controlTimeoutMs: 30, onTrouble: trouble.resolve },
  );
});

Deno.test("a register access without an answer is reported by its offset", async () => {
  await withCard(
    async ({ adapter, guest }) => {
      await guest.probe();
      await adapter.deafen(true);
      await assertRejects(() => guest.unbind(), Error, "write register 0x70");
      await adapter.deafen(false);
      await guest.reset();
      await guest.probe();
    },
    {},
    { accessTimeoutMs: 50 },
  );
});

Deno.test("two guests play at once", async () => {
  await withFolder((folder) =>
    withoutLeaks(async () => {
      await Promise.all([1, 2].map(async (channels) => {
        using node = new SoftNode(MEMORY);
        const device = { kind: "sound", mmioVersion: 2, eventIdx: true } as const;
        await using adapter = await Adapter.attach(node, device);
        await using guest = await startGuest(sound, node.wires);
        adapter.appear();
        await guest.probe();
        const file = `${folder}/${channels}.wav`;
        const bytes = writeNumbered(file, { ...S16, channels }, 30_000);
        await guest.call("play", { file });
        assertEquals((await adapter.seen()).playedBytes, bytes);
      }));
    })
  );
});

Deno.test("an entropy guest reads and measures", async () => {
  await withoutLeaks(async () => {
    using node = new SoftNode(MEMORY);
    await using adapter = await Adapter.attach(node, { kind: "rng", mmioVersion: 1 });
    await using guest = await startGuest(rng, node.wires, { name: "rng0" });
    adapter.appear();
    await guest.probe();
    const bytes = await guest.call("readEntropy", 5000);
    assertEquals(bytes.length, 5000);
    assert(new Set(bytes).size > 200);
    assertEquals((await guest.call("measureRequests", 100)).length, 100);
    assertEquals((await guest.measureAccess(100)).length, 100);
    await guest.unbind();
    await assertRejects(() => guest.call("readEntropy", 1), Error, "it is not bound");
  });
});
