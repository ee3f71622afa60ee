// SPDX-License-Identifier: Apache-2.0
// All that a driver can ask of a disk, through the bridge.
import { assertEquals, assertRejects } from "@std/assert";
import { seeded } from "../../../support/random.ts";
import { DiskChain } from "./disk_chain.ts";

const PROBE_MS = 60_000;
const MIB = 2 ** 20;

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`a disk is read, written, flushed, discarded and cleared, ${memory}`, async () => {
    const args = ["--serial", "disk-1", "--queues", "4", "--block-size", "4096"];
    await using chain = await DiskChain.create(memory, 32 * MIB, args);
    const { guest, file } = chain;
    const { capacity, blockSize, queues, isReadOnly } = await guest.probe(PROBE_MS);
    assertEquals([capacity, blockSize, queues, isReadOnly], [65536, 4096, 4, false]);
    assertEquals(await guest.call("identify"), "disk-1");
    const data = seeded().bytes(3 * MIB + 4096);
    await guest.call("writeSectors", 800, data);
    await guest.call("flush");
    const expected = new Uint8Array(32 * MIB);
    expected.set(data, 800 * 512);
    assertEquals(Deno.readFileSync(file), expected);
    await guest.call("discard", [{ sector: 800, sectors: 16, flags: 0 }]);
    await guest.call("writeZeroes", [
      { sector: 1600, sectors: 8, flags: 0 },
      { sector: 2400, sectors: 800, flags: 1 },
    ]);
    expected.fill(0, 800 * 512, 816 * 512);
    expected.fill(0, 1600 * 512, 1608 * 512);
    expected.fill(0, 2400 * 512, 3200 * 512);
    assertEquals(await guest.call("readSectors", 0, 4 * MIB), expected.subarray(0, 4 * MIB));
    await assertRejects(() => guest.call("readSectors", capacity, 4096), Error, "(EIO)");
    await assertRejects(() => guest.call("writeSectors", 1, new Uint8Array(4096)), Error, "(EIO)");
    await guest.exercise();
  });

  Deno.test(`the write cache stays as the driver set it when the device is another, ${memory}`, async () => {
    await using chain = await DiskChain.create(memory, MIB);
    const { guest, device } = chain;
    const { config } = await guest.probe(PROBE_MS);
    assertEquals(config.writeback, 1);
    assertEquals(await guest.call("setWriteCache", false), false);
    await guest.exercise();
    await device.killAndRestart();
    await guest.exercise();
    assertEquals(await guest.call("writeCache"), false);
    await guest.unbind();
    await guest.probe();
    await guest.exercise();
    assertEquals(await guest.call("setWriteCache", true), true);
  });
}

Deno.test("a read-only disk is read and never written", async () => {
  await using chain = await DiskChain.create("isolated", MIB, ["--access", "read-only"]);
  const { guest, file } = chain;
  const { isReadOnly } = await guest.probe(PROBE_MS);
  assertEquals(isReadOnly, true);
  await guest.exercise();
  await assertRejects(() => guest.call("writeSectors", 0, new Uint8Array(512)), Error, "(EIO)");
  await assertRejects(
    () => guest.call("discard", [{ sector: 0, sectors: 8, flags: 0 }]),
    Error,
    "(EOPNOTSUPP)",
  );
  assertEquals(Deno.readFileSync(file), new Uint8Array(MIB));
});
