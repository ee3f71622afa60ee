// SPDX-License-Identifier: Apache-2.0
// Two network cards on a cable, each with its own driver.
import { assertEquals } from "@std/assert";
import { net } from "../../../lib/classes/mod.ts";
import { startDevice } from "../../../lib/device/mod.ts";
import { attach } from "../../support/attachment.ts";
import { TempFolder } from "../../support/process.ts";
import { seeded } from "../../support/random.ts";

/** Frames of all lengths that an MTU of 1500 allows, the driver's own in their first bytes. */
function frames(count: number): Uint8Array[] {
  const draws = seeded();
  return Array.from({ length: count }, () => {
    const bytes = draws.bytes(14 + draws.integer(1501));
    bytes.set([0x88, 0xb5], 12);
    return bytes;
  });
}

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`frames go over a cable both ways, and the link follows the other card, ${memory}`, async () => {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const cable = `test-${crypto.randomUUID().slice(0, 8)}`;
    const start = async (name: string) => {
      const socket = folder.file(name);
      const device = stack.use(await startDevice(net, { socket, cable, mac: "02:00:00:00:00:01" }));
      const { guest } = stack.use(await attach({ kind: "net", socket, memory }));
      return { device, guest };
    };
    const a = await start("a");
    assertEquals(await a.guest.call("isUp"), false);
    const b = await start("b");
    for (const { guest } of [a, b]) await guest.call("awaitLink", true);
    for (const [from, to] of [[a, b], [b, a]] as const) {
      const sent = frames(500);
      const received = to.guest.call("receive", sent.length);
      await from.guest.call("send", sent);
      assertEquals(await received, sent);
    }
    await b.guest.unbind();
    await a.guest.call("awaitLink", false);
    await b.guest.probe();
    await a.guest.call("awaitLink", true);
    const [one] = frames(1);
    await b.guest.call("send", [one!]);
    assertEquals(await a.guest.call("receive", 1), [one!]);
  });
}
