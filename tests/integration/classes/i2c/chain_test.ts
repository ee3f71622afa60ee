// SPDX-License-Identifier: Apache-2.0
// I2C from the driver to simulated chips.
import { assertEquals } from "@std/assert";
import { i2c } from "../../../../lib/classes/mod.ts";
import { startDevice } from "../../../../lib/device/mod.ts";
import { startGuest } from "../../../../lib/guest/mod.ts";
import { MODES, WholeChain } from "../../chain/chain.ts";
import { withoutLeaks } from "../../../support/leaks.ts";

const CHIPS = `
[[chip]]
address = 0x50
kind = "eeprom"
size = 4096
file = "FILE"

[[chip]]
address = 0x20
kind = "registers"
values = { 0 = 0xaa }
`;

for (const { memory, mmioVersion } of MODES) {
  Deno.test(`i2c: chips are written and read, and nobody is not there, ${memory} memory, version ${mmioVersion}`, () =>
    withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const [socket, chips] = [chain.file("socket"), chain.file("chips.toml")];
      await Deno.writeTextFile(chips, CHIPS.replace("FILE", chain.file("eeprom")));
      const first = await startDevice(i2c, { socket, chips });
      const node = chain.node("node");
      chain.add({ class: "i2c", memory, mmioVersion });
      const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
      const guest = chain.useGuest(await startGuest(i2c, node.wires, patience));
      await guest.probe(60_000);
      const bytes = Uint8Array.from({ length: 32 }, (_, i) => 3 * i);
      const write = Uint8Array.of(0x01, 0x20, ...bytes);
      assertEquals((await guest.call("transfer", [{ address: 0x50, write }])).length, 1);
      const fromThere = [
        { address: 0x50, write: Uint8Array.of(0x01, 0x20) },
        { address: 0x50, read: 32 },
        { address: 0x20, write: Uint8Array.of(0) },
        { address: 0x20, read: 1 },
      ];
      assertEquals((await guest.call("transfer", fromThere)).slice(1), [
        bytes,
        new Uint8Array(0),
        Uint8Array.of(0xaa),
      ]);
      // What i2cdetect does: a write of no bytes to each address.
      const there: number[] = [];
      for (let address = 0x08; address <= 0x77; address++) {
        const done = await guest.call("transfer", [{ address, write: new Uint8Array(0) }]);
        if (done.length > 0) there.push(address);
      }
      assertEquals(there, [0x20, 0x50]);
      const stopped = [{ address: 0x50, read: 1 }, { address: 0x30, read: 1 }, fromThere[3]!];
      assertEquals((await guest.call("transfer", stopped)).length, 1);
      await first.close(); // another takes its place
      const second = await startDevice(i2c, { socket, chips });
      assertEquals((await guest.call("transfer", fromThere.slice(0, 2)))[1], bytes);
      await guest.unbind();
      await second.close();
    }));
}
