// SPDX-License-Identifier: Apache-2.0
// Events from a file to a driver, and LEDs back, through viola.
import { assertEquals } from "@std/assert";
import { parseEvents } from "../../../../lib/classes/input/events_file.ts";
import { input } from "../../../../lib/classes/mod.ts";
import { startDevice } from "../../../../lib/device/mod.ts";
import type { DeviceEvent } from "../../../../lib/device/role.ts";
import { startGuest } from "../../../../lib/guest/mod.ts";
import { withoutLeaks } from "../../../support/leaks.ts";
import { until } from "../../../support/process.ts";
import { DIAGONAL, WholeChain } from "../../chain/chain.ts";

const HEAD = {
  name: "Lenkrad € 7",
  serial: "0815",
  ids: { bustype: 3, vendor: 0x1234, product: 2, version: 0x100 },
  properties: [1],
  codes: { EV_KEY: [30, 767], EV_LED: [0, 15], EV_SW: [0] },
  axes: { 0: { min: -5, max: 300, fuzz: 1, flat: 2, res: 3 }, 63: {} },
};
const MAIN = new URL("../../../../cli/main.ts", import.meta.url).pathname;
/** More events than the driver has buffers. */
const KEYS = Array.from({ length: 100 }, (_, i) => ({ type: "EV_KEY", code: 30, value: i & 1 }));
const LINES = [HEAD, ...KEYS, { type: "EV_ABS", code: 0, value: -5 }]
  .map((line) => JSON.stringify(line)).join("\n");

for (const { memory, mmioVersion } of DIAGONAL) {
  Deno.test(`input: a driver learns what a device is, gets its events and sets its LEDs, ${memory} memory`, () =>
    withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const reported: string[] = [];
      const onEvent = ({ kind, text }: DeviceEvent) => {
        if (kind === "status") reported.push(text);
      };
      const spec = { socket: chain.file("socket"), lines: LINES };
      chain.use(await startDevice(input, spec, { onEvent }));
      const node = chain.node("node");
      chain.add({ class: "input", memory, mmioVersion });
      const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
      const guest = chain.useGuest(await startGuest(input, node.wires, patience));
      for (let life = 0; life < 2; life++) {
        const { capabilities, lines } = parseEvents(LINES, "the lines");
        const { name, serial, ids, properties, codes, axes } = await guest.probe(60_000);
        const sorted = new Map([...capabilities.codes].sort(([a], [b]) => a - b));
        assertEquals({ name, serial, ids, properties, codes, axes }, {
          ...capabilities,
          codes: sorted,
        });
        assertEquals(await guest.call("receive", lines.length), lines);
        const leds = [0, 15].map((code) => ({ type: 0x11, code, value: 1 }));
        assertEquals(await guest.call("send", [...leds, { type: 0, code: 0, value: 0 }]), 3);
        await until(() => reported.length === 2, "the LEDs");
        assertEquals(reported.splice(0), [
          "The driver sets 0 of event type 17 to 1",
          "The driver sets 15 of event type 17 to 1",
        ]);
        await guest.unbind();
      }
    }));
}

Deno.test("input: lines of a process's standard input reach the driver", async () => {
  await using chain = await WholeChain.create();
  const file = chain.file("panel");
  await Deno.writeTextFile(file, JSON.stringify({ name: "live", codes: { EV_KEY: [30] } }));
  const args = ["--socket", chain.file("socket"), "--events", file, "--stdin", "yes"];
  const process = chain.use(
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-prompt", MAIN, "device", "input", ...args],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn(),
  );
  const node = chain.node("node");
  chain.add({ class: "input", memory: "isolated", mmioVersion: 2 });
  const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
  const guest = chain.useGuest(await startGuest(input, node.wires, patience));
  assertEquals((await guest.probe(60_000)).name, "live");
  const writer = process.stdin.getWriter();
  for (let value = 0; value < 3; value++) {
    await writer.write(
      new TextEncoder().encode(`{"type": "EV_KEY", "code": 30, "value": ${value}}\n`),
    );
    assertEquals(await guest.call("receive", 1), [{ type: 1, code: 30, value }]);
  }
  await writer.close();
  await guest.unbind();
});
