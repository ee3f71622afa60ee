// SPDX-License-Identifier: Apache-2.0
// Back-ends that break every rule, at first and when a driver is at work: its registers are answered all along, what is
// wrong is said, and a good one is taken afterwards.
import { rng } from "../../../lib/classes/mod.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Bridge, type BridgedDevice } from "../../../lib/bridge/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import { checkLoopback, openLoopback } from "../../../lib/loopback/mod.ts";
import { type FrontEndMessage, protocolFeatures } from "../../../lib/vhost_user/messages.ts";
import {
  type Behaviour,
  type Fault,
  FAULTS,
  HostileBackEnd,
} from "../../vhost_user/hostile_back_end.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { STATUS_DEVICE_NEEDS_RESET } from "../../../lib/virtio/state.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { fill, Filler, FILLING, hostileRng } from "./back_ends.ts";
import { DIAGONAL, MODES, WholeChain } from "./chain.ts";

/** What is asked of a sound card's back-end before anything else. */
const FIRST_MESSAGES: readonly FrontEndMessage[] = [
  "GET_FEATURES",
  "GET_PROTOCOL_FEATURES",
  "GET_QUEUE_NUM",
  "SET_OWNER",
  "SET_BACKEND_REQ_FD",
  "GET_CONFIG",
];

/** Has a bridge meet a back-end that fails, and asserts that it says so; the node is not opened for it. */
async function meet(
  chain: WholeChain,
  name: string,
  at: FrontEndMessage,
  fault: Fault,
): Promise<Error> {
  const socket = chain.file(name);
  using _back = new HostileBackEnd(chain.reactor, socket, { faults: { [at]: fault } });
  const device = chain.add({ class: "sound", name, socket });
  try {
    return await firstFailure(chain, device);
  } finally {
    await device.close();
  }
}

/** Why a device ended, or lost its back-end. */
async function firstFailure(chain: WholeChain, device: BridgedDevice): Promise<Error> {
  let failure: Error | undefined;
  device.done.catch((error) => failure = error);
  await until(() => {
    const [lost] = lossesOf(chain, device.name, 0);
    if (lost !== undefined) failure ??= new Error(lost);
    return failure !== undefined;
  }, `${device.name} to fail`);
  return failure!;
}

for (const kind of ["lost", "protocol", "late"] as const) {
  Deno.test(`a back-end that fails at first is not attached, and why is said: ${kind}`, async () => {
    await withoutLeaks(async () => {
      const patience = kind === "late" ? { replyMs: 200 } : {};
      await using chain = await WholeChain.create({ patience });
      const node = chain.node("node");
      const rows = FIRST_MESSAGES.flatMap((at) =>
        Object.entries(FAULTS[kind]).map(([name, fault]) => ({ at, name, fault }))
      );
      const errors = await Promise.all(
        rows.map(({ at, fault }, i) => meet(chain, `card${i}`, at, fault)),
      );
      rows.forEach(({ at, name }, i) => {
        const { message } = errors[i]!;
        assertMatch(message, new RegExp(`card${i}`), `${name} at ${at}`);
        assert(message.includes(at), `${name} at ${at}: ${message}`);
        if (kind === "late") assertMatch(message, /no reply within 200 ms/);
      });
      assertEquals(node.isOpen, false);
      using _good = new HostileBackEnd(chain.reactor, chain.file("socket"));
      chain.add({ class: "sound", name: "good" });
      await chain.event("started", 0, "good");
      assertEquals(node.isOpen, true);
    });
  });
}

Deno.test("a back-end that is no such device is not attached, and why is said", async () => {
  const cases = [
    [{ queueCount: 3n }, /it has 3 queues, a sound device needs 4/],
    [{ protocolFeatures: protocolFeatures("MQ") }, /a sound device needs one/],
    [{ features: 0x1_4000_0006n }, /no sound device has \(bit 1, bit 2\)/],
    [{ config: new Uint8Array() }, /refused to return 12 bytes/],
  ] as const;
  await withoutLeaks(async () => {
    await using chain = await WholeChain.create();
    const node = chain.node("node");
    for (const [behaviour, says] of cases) {
      using _back = new HostileBackEnd(chain.reactor, chain.file("socket"), behaviour);
      const device = chain.add({ class: "sound" });
      const error = await assertRejects(() => device.done, Error);
      assertMatch(error.message, says);
    }
    using _rng = new Filler(chain.reactor, chain.file("socket"));
    const device = chain.add({ class: "sound" });
    await assertRejects(() => device.done, Error, "it has no config space");
    assertEquals(node.isOpen, false);
  });
});

Deno.test("a bridge that is closed while its lanes start opens no node", async () => {
  await withoutLeaks(async () => {
    await using chain = await WholeChain.create();
    chain.node("node");
    using _back = new Filler(chain.reactor, chain.file("socket"));
    const closed = Promise.withResolvers<void>();
    let opened = 0;
    const bridge = await Bridge.start({
      onEvent: ({ kind }) => {
        if (kind === "connected") bridge.close().then(closed.resolve, closed.reject);
      },
      loopbacks: {
        check: checkLoopback,
        open: (...args) => {
          opened++;
          return openLoopback(...args);
        },
      },
    });
    const device = bridge.add({
      class: rng,
      socket: chain.file("socket"),
      loopback: chain.loopback("node"),
      memory: "isolated",
      mmioVersion: 1,
      priority: 0,
      lane: "lane",
    });
    await closed.promise;
    await device.done;
    assertEquals(opened, 0);
  });
});

/** What is asked of an entropy device's back-end until it serves. */
const MESSAGES: readonly FrontEndMessage[] = [
  "GET_FEATURES",
  "GET_PROTOCOL_FEATURES",
  "GET_QUEUE_NUM",
  "SET_OWNER",
  "SET_BACKEND_REQ_FD",
  "SET_FEATURES",
  "SET_MEM_TABLE",
  "SET_VRING_NUM",
  "SET_VRING_BASE",
  "SET_VRING_ADDR",
  "SET_VRING_CALL",
  "SET_VRING_KICK",
  "SET_VRING_ENABLE",
];

/** A driver at work, and where its back-end is. */
interface Attached {
  name: string;
  socket: string;
  guest: Guest<typeof rng>;
}

const CHAINS = 4;

/** Each message with each way to close, and with the other faults in turn: every message, every fault. */
function rows(): { at: FrontEndMessage; name: string; fault: Fault }[] {
  const others = [...Object.entries(FAULTS.lost).slice(1), ...Object.entries(FAULTS.protocol)];
  const all = MESSAGES.flatMap((at, i) => [
    { at, name: "closes", fault: FAULTS.lost["closes"]! },
    ...[0, 1].map((k) => {
      const [name, fault] = others[(2 * i + k) % others.length]!;
      return { at, name, fault };
    }),
  ]);
  const silent = Object.entries(FAULTS.late).map(([name, fault], i) => {
    return { at: MESSAGES[5 * i]!, name, fault };
  });
  return [...silent, ...all];
}

/** Reads a little, which must be what the good back-end gives. */
async function read({ guest }: Pick<Attached, "guest">): Promise<void> {
  const bytes = await guest.call("readEntropy", 64);
  assertEquals([bytes.length, bytes.every((byte) => byte === FILLING)], [64, true]);
}

for (const { memory, mmioVersion } of DIAGONAL) {
  Deno.test(`a back-end that fails while a driver uses it is replaced, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create({ patience: { replyMs: 1000 } });
      const todo = rows();
      await Promise.all(Array.from({ length: CHAINS }, async (_, i) => {
        const name = `rng${i}`;
        const socket = chain.file(`${name}.socket`);
        const loopback = chain.loopback(`${name}.node`);
        let good = new Filler(chain.reactor, socket);
        const node = chain.node(`${name}.node`);
        chain.add({ class: "rng", name, socket, loopback, memory, mmioVersion });
        const attached = { name, socket, guest: await chain.entropyGuest(node) };
        await attached.guest.probe();
        await read(attached);
        for (let row = todo.shift(); row !== undefined; row = todo.shift()) {
          const since = chain.events.length;
          good[Symbol.dispose]();
          await failOnce(chain, attached, row, since);
          good = new Filler(chain.reactor, socket);
          await chain.event("resumed", since, name);
          await read(attached);
          assertEquals(lossesOf(chain, name, since).length, 2, `${row.name} at ${row.at}`);
        }
        good[Symbol.dispose]();
      }));
    });
  });
}

/** What was said of a device's lost back-ends. */
function lossesOf(chain: WholeChain, name: string, since: number): string[] {
  return chain.events.slice(since).filter(({ device, kind }) => device === name && kind === "lost")
    .map(({ text }) => text);
}

/** Has a back-end come that fails, but not before the driver's registers were answered; waits for both losses since. */
async function failOnce(
  chain: WholeChain,
  { name, socket, guest }: Attached,
  { at, name: what, fault }: { at: FrontEndMessage; name: string; fault: Fault },
  since: number,
): Promise<void> {
  const afterAccesses: Fault = (back, request, body) => {
    back.deafen(); // what is sent behind this message is not answered before it
    guest.measureAccess(10).then(() => fault(back, request, body));
  };
  using _back = hostileRng(chain.reactor, socket, { faults: { [at]: afterAccesses } });
  await until(() => lossesOf(chain, name, since).length === 2, `a loss at ${at}`);
  const text = lossesOf(chain, name, since)[1]!;
  assert(text.includes(name) && text.includes(at), `${what} at ${at}: ${text}`);
}

/** Back-ends that are no device of the class. */
const UNFIT: readonly [behaviour: Behaviour, says: RegExp][] = [
  [{ features: 0x1_4000_0001n }, /no rng device has \(bit 0\)/],
  [{ queueCount: 0n }, /it has 0 queues, a rng device needs 1/],
  [
    { protocolFeatures: protocolFeatures("MQ", "CONFIG"), queueCount: 4n },
    /it has 4 queues and a config space .*, a rng device needs 1 and has none/,
  ],
];

for (const mode of DIAGONAL) {
  Deno.test(`a back-end that is another device is not taken for the last one, ${mode.memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const socket = chain.file("socket");
      const good = new Filler(chain.reactor, socket);
      const node = chain.node("node");
      chain.add({ class: "rng", ...mode });
      const guest = await chain.entropyGuest(node);
      await guest.probe();
      await read({ guest });
      good[Symbol.dispose]();
      for (const [behaviour, says] of UNFIT) {
        using _back = hostileRng(chain.reactor, socket, behaviour);
        await chain.said(says);
        await guest.measureAccess(1);
      }
      chain.use(new Filler(chain.reactor, socket));
      await chain.event("resumed");
      await read({ guest });
    });
  });
}

for (const mode of MODES.filter(({ memory }) => memory === "isolated")) {
  Deno.test(`back-ends with fewer features than the driver accepted serve it all the same, mmio ${mode.mmioVersion}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const socket = chain.file("socket");
      let back = new Filler(chain.reactor, socket);
      const node = chain.node("node");
      chain.add({ class: "rng", ...mode });
      const guest = await chain.entropyGuest(node);
      const { features } = await guest.probe();
      assert(features.includes("INDIRECT_DESC") && features.includes("EVENT_IDX"), features);
      await read({ guest });
      for (const lacking of [bit(28), bit(29), bit(28) | bit(29), 0n]) {
        const since = chain.events.length;
        back[Symbol.dispose]();
        const offered = (bit(28) | bit(29) | bit(32)) & ~lacking;
        back = new Filler(chain.reactor, socket, fill, offered);
        await chain.event("resumed", since);
        for (let i = 0; i < 3; i++) await read({ guest });
      }
      back[Symbol.dispose]();
    });
  });
}

Deno.test("a driver that relies on what no back-end has any more must reset the device", async () => {
  await withoutLeaks(async () => {
    await using chain = await WholeChain.create();
    const socket = chain.file("socket");
    const good = new Filler(chain.reactor, socket);
    const node = chain.node("node");
    // With isolated memory the rings' features are viola's own, and rng has none besides.
    chain.add({ class: "rng", memory: "direct" });
    const guest = await chain.entropyGuest(node);
    await guest.probe();
    await read({ guest });
    good[Symbol.dispose]();
    using _plain = hostileRng(chain.reactor, socket, { features: 0x4000_0000n });
    await chain.said(/it lacks features that the driver relies on \(.*INDIRECT_DESC/);
    const needsReset = () => (chain.counters().status & STATUS_DEVICE_NEEDS_RESET) !== 0;
    await until(needsReset, "DEVICE_NEEDS_RESET");
    const since = chain.events.length;
    await guest.reset();
    await guest.probe();
    await chain.event("running", since);
    assertEquals(chain.counters().losses, 1);
  });
});
