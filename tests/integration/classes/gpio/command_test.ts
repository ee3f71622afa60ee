// SPDX-License-Identifier: Apache-2.0
// viola gpio, at a device and a driver: what it shows and does, and how it fails.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { gpio } from "../../../../lib/classes/mod.ts";
import * as wire from "../../../../lib/classes/gpio/wire.ts";
import { startDevice } from "../../../../lib/device/mod.ts";
import { startGuest } from "../../../../lib/guest/mod.ts";
import { until } from "../../../support/process.ts";
import { WholeChain } from "../../chain/chain.ts";
import { viola } from "../../cli/viola.ts";

/** A driver at a device of two lines, by which a test of the command is done. */
async function withBoard(
  test: (board: Awaited<ReturnType<typeof makeBoard>>) => Promise<void>,
): Promise<void> {
  await using chain = await WholeChain.create();
  await test(await makeBoard(chain));
}

async function makeBoard(chain: WholeChain) {
  const socket = chain.file("socket");
  chain.use(await startDevice(gpio, { socket, line: ["LED", "Red button"] }));
  const node = chain.node("node");
  chain.add({ class: "gpio" });
  const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
  const guest = chain.useGuest(await startGuest(gpio, node.wires, patience));
  await guest.probe(60_000);
  return { socket, guest };
}

/** Runs a command to its end. */
async function command(socket: string, verb: string, ...args: string[]) {
  await using process = viola(["gpio", verb, "--socket", socket, ...args]);
  const { code } = await process.end();
  return { code, stdout: process.stdout, stderr: process.stderr };
}

Deno.test("viola gpio: lines are shown, driven, and each edge reaches the driver", () =>
  withBoard(async ({ socket, guest }) => {
    await guest.call("output", 0, 1);
    await guest.call("input", 1);
    await guest.call("irq", 1, wire.IRQ_TYPE_EDGE_BOTH);
    const edges = Array.from({ length: 50 }, (_, i) => `Red button=${(i + 1) % 2}`);
    // The driver handles interrupts while it waits.
    const [set, count] = await Promise.all([
      command(socket, "set", ...edges),
      guest.call("interrupts", 1, edges.length),
    ]);
    assertEquals(set, { code: 0, stdout: "", stderr: "" });
    assertEquals(count, edges.length);
    const get = await command(socket, "get");
    assertEquals(get, { code: 0, stdout: "0 LED out 1\n1 Red button in 0\n", stderr: "" });
    const json = await command(socket, "get", "--json", "LED");
    assertEquals(JSON.parse(json.stdout), {
      event: "line",
      line: 0,
      name: "LED",
      direction: "out",
      value: 1,
    });
  }));

Deno.test("viola gpio watch: each change is printed, until it is ended", () =>
  withBoard(async ({ socket, guest }) => {
    await using watch = viola(["gpio", "watch", "--socket", socket, "LED"]);
    await until(() => watch.stdout.includes("0 LED none 0\n"), "the watch shows the line");
    await guest.call("output", 0, 1);
    await guest.call("set", 0, 0);
    const expected = "0 LED none 0\n0 LED out 1\n0 LED out 0\n";
    await until(() => watch.stdout === expected, "the watch shows the changes");
    watch.signal("SIGTERM");
    assertEquals((await watch.end()).code, 0, watch.report());
  }));

Deno.test("viola gpio: what cannot be done is said in one line", () =>
  withBoard(async ({ socket, guest }) => {
    await guest.call("output", 0, 1);
    const rows: [args: string[], code: number, text: string][] = [
      [["get", "--socket", socket, "none"], 3, 'Cannot use line "none": expected "LED", '],
      [["set", "--socket", socket, "LED=1"], 3, "Cannot drive line 0 (LED): it is an output"],
      [["set", "--socket", socket, "LED"], 1, 'Cannot set "LED": expected LINE=0 or LINE=1'],
      [["get", "--socket", `${socket}-none`], 2, "must be running"],
      [["get"], 1, "Cannot reach the gpio device: --socket is missing"],
      [["frob"], 1, 'Cannot use VERB "frob": expected get, set or watch'],
      [[], 1, 'Cannot use VERB "": expected get, set or watch'],
    ];
    await Promise.all(rows.map(async ([args, code, text]) => {
      await using process = viola(["gpio", ...args]);
      assertEquals((await process.end()).code, code, process.report());
      assertStringIncludes(process.stderr, text);
      assert(process.stderr.trimEnd().split("\n").length === 1, process.stderr);
    }));
  }));
