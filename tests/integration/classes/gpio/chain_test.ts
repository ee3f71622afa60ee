// SPDX-License-Identifier: Apache-2.0
// GPIO from the driver to simulated lines, and back.
import { assertEquals, assertRejects } from "@std/assert";
import { gpio } from "../../../../lib/classes/mod.ts";
import * as wire from "../../../../lib/classes/gpio/wire.ts";
import type { GpioSpec } from "../../../../lib/classes/gpio/spec.ts";
import { type RunningDevice, startDevice } from "../../../../lib/device/mod.ts";
import { type Guest, startGuest } from "../../../../lib/guest/mod.ts";
import { MODES, WholeChain } from "../../chain/chain.ts";
import { withoutLeaks } from "../../../support/leaks.ts";

type Mode = Pick<typeof MODES[number], "memory" | "mmioVersion">;

/** A driver and its lines. */
interface Board {
  readonly chain: WholeChain;
  readonly guest: Guest<typeof gpio>;
  device: RunningDevice<typeof gpio>;
  /** What the probe found. */
  readonly names: readonly string[];
  readonly hasIrq: boolean;
}

function start(chain: WholeChain, spec: GpioSpec): Promise<RunningDevice<typeof gpio>> {
  return startDevice(gpio, { socket: chain.file("socket"), ...spec });
}

async function board(chain: WholeChain, spec: GpioSpec, mode: Mode): Promise<Board> {
  const device = await start(chain, spec);
  const node = chain.node("node");
  chain.add({ class: "gpio", ...mode });
  const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
  const guest = chain.useGuest(await startGuest(gpio, node.wires, patience));
  const { names, hasIrq } = await guest.probe(60_000);
  return { chain, guest, device, names, hasIrq };
}

function inMode(mode: Mode, name: string, spec: GpioSpec, test: (board: Board) => Promise<void>) {
  Deno.test(`gpio: ${name}, ${mode.memory} memory, version ${mode.mmioVersion}`, () =>
    withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const made = await board(chain, spec, mode);
      await test(made);
      await made.guest.unbind();
      await made.device.close();
    }));
}

const SPEC = { line: ["LED", "Red button", "reset"], lines: 5 };

for (const mode of MODES) {
  inMode(mode, "lines are named, set, read and given up", SPEC, async (one) => {
    const { guest, device } = one;
    assertEquals([one.names, one.hasIrq], [["LED", "Red button", "reset", "", ""], true]);
    await guest.call("output", 0, 1);
    assertEquals((await device.call("lines"))[0], {
      line: 0,
      name: "LED",
      direction: "out",
      value: 1,
    });
    await guest.call("set", 0, 0);
    assertEquals([await guest.call("get", 0), (await device.call("lines"))[0]!.value], [0, 0]);
    await guest.call("input", 1);
    await device.call("drive", 1, 1);
    assertEquals([await guest.call("get", 1), await guest.call("direction", 1)], [
      1,
      wire.DIRECTION_IN,
    ]);
    await guest.call("free", 1);
    assertEquals(await guest.call("direction", 1), wire.DIRECTION_NONE);
    await assertRejects(() => guest.call("set", 4, 2), Error, "the device answers 1, expected 0");
  });

  inMode(
    mode,
    "interrupts reach the driver, one for each edge",
    SPEC,
    async ({ guest, device }) => {
      for (const [line, type] of [[1, wire.IRQ_TYPE_EDGE_BOTH], [2, wire.IRQ_TYPE_EDGE_RISING]]) {
        await guest.call("input", line!);
        await guest.call("irq", line!, type!);
      }
      const rounds = 100;
      for (let i = 1; i <= rounds; i++) {
        await device.call("drive", 1, i % 2 === 1 ? 1 : 0);
        assertEquals(await guest.call("interrupts", 1, i), i);
        await device.call("drive", 2, 1);
        assertEquals(await guest.call("interrupts", 2, i), i);
        await device.call("drive", 2, 0);
      }
      await guest.call("irq", 1, wire.IRQ_TYPE_NONE);
      await device.call("drive", 1, 1);
      assertEquals(await guest.call("interrupts", 1, rounds), rounds);
      assertEquals([guest.progress.invalid, guest.progress.malformed], [0, 0]);
    },
  );

  inMode(
    mode,
    "a device that is replaced has the driver's lines and interrupts",
    SPEC,
    async (one) => {
      const { guest, chain } = one;
      await guest.call("output", 0, 1);
      for (const line of [1, 2]) {
        await guest.call("input", line);
        await guest.call("irq", line, wire.IRQ_TYPE_EDGE_BOTH);
      }
      await guest.call("irq", 2, wire.IRQ_TYPE_NONE);
      await one.device.close();
      one.device = await start(chain, SPEC);
      assertEquals([await guest.call("get", 0), await guest.call("direction", 0)], [1, 1]);
      assertEquals(
        (await one.device.call("lines")).map(({ direction }) => direction),
        ["out", "in", "in", "none", "none"],
      );
      await one.device.call("drive", 1, 1);
      assertEquals(await guest.call("interrupts", 1, 1), 1);
      await one.device.call("drive", 2, 1);
      assertEquals(await guest.call("interrupts", 2, 0), 0);
      assertEquals(guest.progress.invalid, 0);
    },
  );
}
