// SPDX-License-Identifier: Apache-2.0
// CAN from driver to driver: two controllers on one bus, each with its viola and its driver.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { can } from "../../../../lib/classes/mod.ts";
import { parseLine } from "../../../../lib/classes/can/candump.ts";
import type { CanSpec } from "../../../../lib/classes/can/spec.ts";
import type { CanFrame } from "../../../../lib/classes/can/wire.ts";
import { type RunningDevice, startDevice } from "../../../../lib/device/mod.ts";
import { type Guest, startGuest } from "../../../../lib/guest/mod.ts";
import { MODES, WholeChain } from "../../chain/chain.ts";
import { DeviceProcess } from "../../chain/device_process.ts";
import { frame, rtr } from "../../../classes/can/frames.ts";
import { withoutLeaks } from "../../../support/leaks.ts";
import { until } from "../../../support/process.ts";
import { seeded } from "../../../support/random.ts";

type Mode = Pick<typeof MODES[number], "memory" | "mmioVersion">;

/** A controller's driver and its device. */
interface Card {
  readonly guest: Guest<typeof can>;
  readonly device: RunningDevice<typeof can>;
}

/** Ends what is sent before a test begins. */
const MARK = frame(0x7fe);

/** A driver at a controller that listens, or will, at NAME.socket. */
async function drive(chain: WholeChain, name: string, mode: Mode): Promise<Guest<typeof can>> {
  const node = chain.node(`${name}.node`);
  const [socket, loopback] = [chain.file(`${name}.socket`), chain.loopback(`${name}.node`)];
  chain.add({ class: "can", name, socket, loopback, ...mode });
  const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
  const guest = chain.useGuest(await startGuest(can, node.wires, patience));
  await guest.probe(60_000);
  return guest;
}

/** A controller that is started, all of it. */
async function card(chain: WholeChain, name: string, spec: CanSpec, mode: Mode): Promise<Card> {
  const device = chain.use(
    await startDevice(can, { socket: chain.file(`${name}.socket`), ...spec }),
  );
  const guest = await drive(chain, name, mode);
  await guest.call("start");
  return { guest, device };
}

/** Two controllers on a bus of their own. */
async function pair(chain: WholeChain, mode: Mode): Promise<[Card, Card]> {
  const bus = `test-${crypto.randomUUID().slice(0, 8)}`;
  const a = await card(chain, "a", { bus }, mode);
  const b = await card(chain, "b", { bus }, mode);
  // Until the first has heard of the second: what it sends before that is lost, as on a wire.
  await until(async () => {
    await a.guest.call("send", [frame(0)]);
    return b.guest.progress.received > 0;
  }, "the two hear each other");
  await a.guest.call("send", [MARK]);
  for (let id = 0; id !== MARK.id;) [{ id }] = await b.guest.call("receive", 1) as [CanFrame];
  return [a, b];
}

function inMode(mode: Mode, name: string, test: (chain: WholeChain) => Promise<void>): void {
  Deno.test(`can: ${name}, ${mode.memory} memory, version ${mode.mmioVersion}`, () =>
    withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      await test(chain);
    }));
}

for (const mode of MODES) {
  inMode(mode, "frames of each kind from driver to driver, both ways", async (chain) => {
    const [a, b] = await pair(chain, mode);
    const frames = [
      frame(0x7ff, [1, 2, 3, 4, 5, 6, 7, 8]),
      frame(0x1fffffff, [], { isExtended: true }),
      frame(2, new Array(64).fill(9), { isFd: true }),
      rtr(3, 5),
    ];
    for (const [from, to] of [[a, b], [b, a]] as const) {
      assertEquals(await from.guest.call("send", frames), frames.length);
      assertEquals(await to.guest.call("receive", frames.length), frames);
    }
    await a.guest.call("stop");
    await assertRejects(() => a.guest.call("send", frames), Error, "ENETDOWN");
    await b.guest.call("send", frames);
    await a.guest.call("start");
    await b.guest.call("send", [frame(4)]);
    assertEquals(await a.guest.call("receive", 1), [frame(4)], "what came while it was stopped");
  });
}

for (const memory of ["isolated", "direct"] as const) {
  const mode = { memory, mmioVersion: 2 } as const;

  inMode(mode, "ten thousand frames in their order, none lost", async (chain) => {
    const [a, b] = await pair(chain, mode);
    const frames = numbered(10_000);
    const [sent, received] = await Promise.all([
      a.guest.call("send", frames),
      b.guest.call("receive", frames.length),
    ]);
    assertEquals(sent, frames.length);
    assertEquals(received.map(numberOf), frames.map(numberOf));
  });

  inMode(
    mode,
    "bus-off is heard of, and a controller that is started again works",
    async (chain) => {
      const { guest, device } = await card(chain, "a", {}, mode);
      await device.call("busOff");
      await until(() => guest.progress.state === "bus-off", "the interrupt");
      await assertRejects(() => guest.call("send", [frame(1)]), Error, "ENETDOWN");
      await guest.call("start");
      assertEquals(await guest.call("send", [frame(1)]), 1);
      await device.call("busOff");
      await until(() => guest.progress.busOffs === 2, "another");
      await guest.unbind();
      await guest.probe();
      await guest.call("start");
      assertEquals(await guest.call("send", [frame(1)]), 1);
    },
  );

  inMode(
    mode,
    "processes share a bus, and one that is killed is back on it by itself",
    async (chain) => {
      const bus = `test-${crypto.randomUUID().slice(0, 8)}`;
      const [a, b] = ["a", "b"].map((name) => {
        const args = ["can", "--socket", chain.file(`${name}.socket`), "--bus", bus];
        return chain.use(DeviceProcess.start(args));
      });
      const [from, to] = [await drive(chain, "a", mode), await drive(chain, "b", mode)];
      await from.call("start");
      await to.call("start");
      const isHeard = async (): Promise<boolean> => {
        const { received } = to.progress;
        assertEquals(await from.call("send", [frame(1)]), 1);
        return to.progress.received > received;
      };
      await until(isHeard, "a frame from process to process");
      for (const device of [b!, a!]) {
        await device.killAndRestart();
        await until(isHeard, "a frame after a process was killed");
      }
    },
  );

  inMode(
    mode,
    "a device that is killed again and again loses no frame that it said was sent",
    async (chain) => {
      const log = chain.file("log");
      const args = ["can", "--socket", chain.file("a.socket"), "--log-out", log];
      const device = chain.use(DeviceProcess.start(args));
      const guest = await drive(chain, "a", mode);
      await guest.call("start");
      const frames = numbered(6000);
      const draws = seeded();
      let sent = 0;
      for (let kills = 0; kills < 4; kills++) {
        const batch = frames.slice(1500 * kills, 1500 * (kills + 1));
        const before = guest.progress.sent;
        const [count] = await Promise.all([
          guest.call("send", batch),
          (async () => {
            const at = before + 1 + draws.integer(1000);
            await until(() => guest.progress.sent >= at, "some frames");
            await device.killAndRestart();
          })(),
        ]);
        sent += count;
      }
      assertEquals(sent, frames.length, device.output);
      const lines = (await Deno.readTextFile(log)).trimEnd().split("\n").map(parseLine);
      const noted = lines.map((line) => numberOf((line as { frame: CanFrame }).frame));
      assertEquals([...new Set(noted)].sort((x, y) => x - y), frames.map(numberOf));
      assert(noted.length < 1.2 * frames.length, "few were sent a second time");
    },
  );
}

function numbered(count: number): CanFrame[] {
  return Array.from({ length: count }, (_, i) => frame(i & 0x7ff, [i & 0xff, i >> 8]));
}

function numberOf({ data }: CanFrame): number {
  return data[0]! + 256 * data[1]!;
}
