// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import { closesPending, Reactor } from "../../../ffi/mod.ts";
import { rng, sound } from "../../../lib/classes/mod.ts";
import { type DeviceEvent, startDevice } from "../../../lib/device/mod.ts";
import type { SoundSpec } from "../../../lib/classes/sound/spec.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { encodeMessage, FRONT_END_MESSAGES } from "../../../lib/vhost_user/messages.ts";
import { WavReader } from "../../../lib/wav/mod.ts";
import { startLingering } from "../../support/lingering.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { Process, until } from "../../support/process.ts";
import { noise, PARAMS } from "../../classes/sound/card.ts";
import { seeded } from "../../support/random.ts";
import { RemoteDriver, word } from "./remote.ts";

const PERIOD = PARAMS.periodBytes;
const { VQ_TX, VQ_RX } = snd;

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function samplesOf(path: string): Uint8Array {
  using reader = WavReader.open(path);
  const samples = new Uint8Array(reader.frames * reader.format.channels * reader.format.bits / 8);
  reader.read(samples);
  return samples;
}

const xfer = (stream: number, samples: Uint8Array): Uint8Array =>
  Uint8Array.of(stream, 0, 0, 0, ...samples);

const onSocket = (name: string, test: (folder: string, reactor: Reactor) => Promise<void>): void =>
  Deno.test(name, () =>
    withFolder((folder) =>
      withoutLeaks(async () => {
        await using reactor = new Reactor();
        await test(folder, reactor);
      })
    ));

/** Plays whole periods, four of them in flight. */
async function playPeriods(driver: RemoteDriver, samples: Uint8Array): Promise<void> {
  const count = samples.length / PERIOD;
  let offered = 0;
  let done = 0;
  const offer = (): void => {
    if (offered === count) return;
    const period = samples.subarray(offered * PERIOD, (offered + 1) * PERIOD);
    driver.offer(VQ_TX, offered, xfer(0, period), 8);
    offered++;
  };
  for (let i = 0; i < 4; i++) offer();
  while (done < count) {
    for (const { token } of await driver.next(VQ_TX)) {
      assertEquals(token, done++);
      offer();
    }
  }
}

onSocket(
  "a card at a socket plays and captures, and leaves no socket",
  async (folder, reactor) => {
    const events: DeviceEvent[] = [];
    const [socket, path] = [`${folder}/s`, `${folder}/out.wav`];
    const spec = { socket, sinks: [`wav:${path}`], sources: ["silence"] };
    const device = await startDevice(sound, spec, { onEvent: (event) => events.push(event) });
    {
      await using driver = new RemoteDriver(reactor, "sound");
      const frontEnd = await driver.connect(socket);
      assertEquals(
        (await frontEnd.readConfig()).subarray(0, 12),
        Uint8Array.of(2, 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0),
      );
      const samples = noise(30 * PERIOD);
      await driver.startPlayback(PARAMS);
      await playPeriods(driver, samples);
      assertEquals(await driver.control(word(snd.R_PCM_STOP)), snd.S_OK);
      assertEquals(samplesOf(path), samples);

      // The driver goes in the middle of a capture.
      driver.offer(VQ_RX, 1, Uint8Array.of(1, 0, 0, 0), PERIOD + 8);
      const [early] = await driver.next(VQ_RX);
      assertEquals(new DataView(early!.bytes.buffer).getUint32(0, true), 0);
      assertEquals(early!.length, 8);
    }
    await device.close();
    await device.close();
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["out.wav"]);
    const kinds = new Set(events.map(({ kind }) => kind));
    for (const kind of ["listening", "connected", "state", "position"] as const) {
      assert(kinds.has(kind), kind);
    }
    assertEquals(events.filter(({ kind }) => kind === "error"), []);
  },
);

for (const isPatient of [true, false]) {
  onSocket(
    `a device that ends ${isPatient ? "waits for" : "kills, when told to,"} a command at work`,
    async (folder, reactor) => {
      const events: DeviceEvent[] = [];
      const onEvent = (event: DeviceEvent) => void events.push(event);
      const [socket, path] = [`${folder}/s`, `${folder}/out`];
      const command = `cat > ${path}; sleep ${isPatient ? 0.3 : 60}; echo end >> ${path}`;
      const spec: SoundSpec & { socket: string } = {
        socket,
        sinks: [`exec:${command}`],
        pace: "free",
      };
      const device = await startDevice(sound, spec, { onEvent });
      {
        await using driver = new RemoteDriver(reactor, "sound");
        await driver.connect(socket);
        await driver.startPlayback(PARAMS);
        driver.offer(VQ_TX, 1, xfer(0, new Uint8Array(PERIOD).fill(7)), 8);
        await driver.next(VQ_TX);
      }
      const now = new AbortController();
      const closed = device.close(now.signal);
      if (!isPatient) now.abort();
      await closed;
      await device.close();
      const notices = events.filter(({ kind }) => kind === "notice").map(({ text }) => text);
      const errors = events.filter(({ kind }) => kind === "error").map(({ text }) => text);
      assertEquals(notices, [`Waiting for "${command}" to finish`]);
      const killed = `Killed "${command}" before it had finished: the device was closed`;
      assertEquals(errors, isPatient ? [] : [killed]);
      if (!isPatient) return;
      const tail = new TextDecoder().decode(Deno.readFileSync(path).subarray(PERIOD));
      assertEquals(tail, "end\n");
    },
  );
}

onSocket(
  "a card serves one front-end after another; append continues the file",
  async (folder, reactor) => {
    const [socket, path] = [`${folder}/s`, `${folder}/out.wav`];
    await using _device = await startDevice(sound, {
      socket,
      sinks: [`wav:${path},append`],
      pace: "free",
    });
    const samples = noise(5 * PERIOD);
    for (let life = 0; life < 5; life++) {
      await using driver = new RemoteDriver(reactor, "sound");
      await driver.connect(socket);
      await driver.startPlayback(PARAMS);
      driver.offer(VQ_TX, 7, xfer(0, samples.subarray(life * PERIOD, (life + 1) * PERIOD)), 8);
      assertEquals((await driver.next(VQ_TX))[0]!.token, 7);
    }
    assertEquals(samplesOf(path), samples);
  },
);

onSocket("entropy at a socket, to several front-ends in turn", async (folder, reactor) => {
  const socket = `${folder}/s`;
  await using _device = await startDevice(rng, { socket });
  const seen = new Set<string>();
  for (let life = 0; life < 3; life++) {
    await using driver = new RemoteDriver(reactor, "rng");
    await driver.connect(socket);
    driver.offer(0, 1, new Uint8Array(), 64);
    const [used] = await driver.next(0);
    assertEquals(used!.length, 64);
    seen.add(used!.bytes.join());
  }
  assertEquals(seen.size, 3);
});

onSocket(
  "the owner can plug jacks; unknown calls are refused",
  async (folder) => {
    await using card = await startDevice(sound, { socket: `${folder}/sound` });
    await card.call("setJack", 0, false);
    await assertRejects(() => card.call("setJack", 9, false), Error, "Cannot plug jack 9");
    // @ts-expect-error: no such argument
    await card.call("setJack", 0, "in");
    // @ts-expect-error: no such call
    await assertRejects(() => card.call("toString"), Error, "no such call");
    await using source = await startDevice(rng, { socket: `${folder}/rng` });
    // @ts-expect-error: a call of another class
    const foreign = () => source.call("setJack", 0, false);
    await assertRejects(foreign, Error, "Cannot ask rng for setJack: it has no such call");
  },
);

/** Bytes of a buffer whose words are its number, so that missing or repeated buffers are found. */
const PIECE = 1000;
/** How often the device is killed. */
const LIVES = 8;

/** Checks that a file has whole buffers, none of them missing. @returns how many there are, and how many are repeated */
function checkPieces(path: string): { count: number; repeated: number } {
  const samples = samplesOf(path);
  const found = new Uint32Array(samples.buffer, 0, samples.length / 4);
  assertEquals(samples.length % PIECE, 0);
  let count = 0;
  for (let at = 0; at < found.length; at += PIECE / 4) {
    const n = found[at]!;
    assert(found.subarray(at, at + PIECE / 4).every((word) => word === n), "a torn buffer");
    assert(n <= count, `buffer ${count} is missing`);
    count = n + 1;
  }
  return { count, repeated: found.length / (PIECE / 4) - count };
}

Deno.test("killed at any moment, a card leaves a valid file with every returned buffer, and appends to it", async () => {
  const params = {
    ...PARAMS,
    channels: 1,
    format: 4,
    rate: 1,
    periodBytes: PIECE,
    bufferBytes: 64 * PIECE,
  };
  const numbered = (n: number): Uint8Array => {
    const words = new Uint32Array(PIECE / 4).fill(n);
    return new Uint8Array(words.buffer);
  };
  await withFolder(async (folder) => {
    const [socket, path] = [`${folder}/s`, `${folder}/out.wav`];
    const script = new URL("./killed.ts", import.meta.url).pathname;
    const args = ["run", "-A", "--no-prompt", "--no-check", script, socket, `wav:${path},append`];
    const draws = seeded();
    let next = 0; // the first buffer that has not come back
    let doubled = 0;
    for (let life = 0; life < LIVES; life++) {
      await using reactor = new Reactor();
      await using process = Process.start(Deno.execPath(), args);
      await using driver = new RemoteDriver(reactor, "sound");
      await driver.connect(socket);
      await driver.startPlayback(params);
      let offered = next;
      const kill = performance.now() + draws.number(30);
      while (performance.now() < kill) {
        while (offered < next + 16) driver.offer(VQ_TX, offered, xfer(0, numbered(offered++)), 8);
        for (const { token } of driver.take(VQ_TX)) assertEquals(token, next++);
        await new Promise((resolve) => setTimeout(resolve));
      }
      process.signal("SIGKILL");
      await process.ended;
      for (const { token } of driver.take(VQ_TX)) assertEquals(token, next++);
      const { count, repeated } = checkPieces(path);
      assert(count >= next, `${next} buffers came back, ${count} are in the file`);
      doubled = repeated;
    }
    assert(next > LIVES, "nothing was played");
    // One buffer is being given back when the process dies, or a ring's worth that had not been shown.
    assert(doubled <= LIVES * 16, `${doubled} of ${next} buffers are there twice`);
  });
});

onSocket(
  "a front-end whose descriptor takes ten minutes to close does not keep the device from the next",
  async (folder, reactor) => {
    const events: DeviceEvent[] = [];
    const onEvent = (event: DeviceEvent) => void events.push(event);
    const socket = `${folder}/s`;
    await using _device = await startDevice(rng, { socket }, { onEvent });
    const message = encodeMessage(FRONT_END_MESSAGES.GET_FEATURES.request, 1, new Uint8Array());
    await using hostile = startLingering("connect", socket, message);
    await hostile.until(() => events.some(({ kind }) => kind === "disconnected"), "its end");
    assert(/1 descriptors came, expected 0 to 0/.test(events.find(isError)!.text));
    await until(() => closesPending() === 1, "the close that waits");
    {
      await using driver = new RemoteDriver(reactor, "rng");
      await driver.connect(socket);
    }
    await hostile.stop("SIGKILL");
    await until(() => closesPending() === 0, "the end of the close");
  },
);

const isError = ({ kind }: DeviceEvent): boolean => kind === "error";
