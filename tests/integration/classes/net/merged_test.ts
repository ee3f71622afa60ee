// SPDX-License-Identifier: Apache-2.0
// Frames that fill several receive buffers, from a card that merges them to viola's driver.
import { assertEquals } from "@std/assert";
import { net } from "../../../../lib/classes/mod.ts";
import { startDevice } from "../../../../lib/device/mod.ts";
import { startGuest } from "../../../../lib/guest/mod.ts";
import { DIAGONAL, WholeChain } from "../../chain/chain.ts";
import { withoutLeaks } from "../../../support/leaks.ts";
import { seeded } from "../../../support/random.ts";
import { PIECE_BYTES } from "./merging_device.ts";

/** A class whose device is the one of this folder. */
const MERGING: typeof net = {
  ...net,
  roles: { ...net.roles, device: new URL("./merging_device.ts", import.meta.url) },
};
/** More than the driver has buffers for at once, of all lengths, those at the edge of a buffer among them. */
const COUNT = 200;

/** Bytes of the n-th frame. */
function lengthOf(n: number, random: number): number {
  const edges = [-1, 0, 1].flatMap((more) => [1, 2, 5].map((k) => k * PIECE_BYTES - 12 + more));
  return edges[n] ?? 14 + random;
}

for (const { memory, mmioVersion } of DIAGONAL) {
  Deno.test(`net: frames in several buffers are received whole and in order, ${memory} memory`, () =>
    withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      chain.use(await startDevice(MERGING, { socket: chain.file("socket") }));
      const node = chain.node("node");
      chain.add({ class: "net", memory, mmioVersion });
      const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
      const guest = chain.useGuest(await startGuest(net, node.wires, patience));
      const { features } = await guest.probe(60_000);
      assertEquals(features.includes("VIRTIO_NET_F_MRG_RXBUF"), true, features);
      const draws = seeded();
      const frames = Array.from({ length: COUNT }, (_, n) => {
        const bytes = draws.bytes(lengthOf(n, draws.integer(1501)));
        bytes.set([0x88, 0xb5], 12);
        return bytes;
      });
      await guest.call("send", frames);
      assertEquals(await guest.call("receive", COUNT), frames);
      await guest.unbind();
    }));
}
