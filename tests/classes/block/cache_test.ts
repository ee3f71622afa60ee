// SPDX-License-Identifier: Apache-2.0
// What is on the medium when a request is answered: which operations the device has its threads do.
import { assert, assertEquals } from "@std/assert";
import { IoSlots } from "../../../lib/classes/block/io_slots.ts";
import type { BlockSpec } from "../../../lib/classes/block/spec.ts";
import * as wire from "../../../lib/classes/block/wire.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { Disk, head, rangesOf, Spy } from "./device_fixture.ts";

const { S_OK, T_DISCARD, T_OUT, T_WRITE_ZEROES } = wire;
const ALL = (1n << 24n) - 1n;
const FLUSH = bit(wire.F_FLUSH);
const WCE = bit(wire.F_CONFIG_WCE);

/** Does a request of each kind that changes the disk. @returns the operations that were done */
function change(disk: Disk, spy: Spy): string[] {
  spy.ops.length = 0;
  assertEquals(disk.write(0, new Uint8Array(512)), S_OK);
  assertEquals(disk.do([head(T_DISCARD), rangesOf({ sectors: 8 })], [1]).status, S_OK);
  for (const flags of [0, wire.WRITE_ZEROES_FLAG_UNMAP]) {
    const range = rangesOf({ sectors: 8, flags });
    assertEquals(disk.do([head(T_WRITE_ZEROES), range], [1]).status, S_OK);
  }
  return spy.ops.slice();
}

const CACHED = ["write", "discard", "zero", "zeroUnmap"];
const STABLE = ["writeStable", "discardStable", "zeroStable", "zeroUnmapStable"];

const CASES: [what: string, cache: BlockSpec["cache"], accepted: bigint, ops: string[]][] = [
  ["a driver that flushes", "writeback", ALL, CACHED],
  ["a driver that flushes and cannot switch", "writeback", ALL & ~WCE, CACHED],
  ["a driver that flushes", "writethrough", ALL, STABLE],
  // Virtio 1.2 §5.2.6.2: without both features each write is stable when it is answered.
  ["a driver that cannot flush", "writeback", ALL & ~FLUSH & ~WCE, STABLE],
  ["a driver that cannot flush", "writethrough", ALL & ~FLUSH, STABLE],
];

/** An empty file, and a disk in it. */
function onFile(cache: BlockSpec["cache"], accepted: bigint, test: (disk: Disk) => void): void {
  const file = Deno.makeTempFileSync({ prefix: "viola-block-" });
  try {
    Deno.truncateSync(file, 2 ** 20);
    using disk = new Disk({ file, ...(cache === undefined ? {} : { cache }) }, accepted);
    test(disk);
  } finally {
    Deno.removeSync(file);
  }
}

for (const [what, cache, accepted, ops] of CASES) {
  Deno.test(`${cache}, ${what}: its changes are answered ${ops === STABLE ? "when stable" : "at once"}`, () =>
    onFile(cache, accepted, (disk) => {
      using spy = new Spy();
      assertEquals(change(disk, spy), ops);
      assertEquals(disk.flush(), S_OK);
      assertEquals(spy.ops.at(-1), "flush");
    }));
}

Deno.test("a driver switches the cache off and on; what it wrote before is committed", () =>
  onFile("writeback", ALL, (disk) => {
    using spy = new Spy();
    const { device } = disk.bench;
    disk.write(0, new Uint8Array(512));
    device.writeConfig(wire.CONFIG_WRITEBACK, Uint8Array.of(0));
    assertEquals(spy.ops, ["write", "flush"]);
    assertEquals(change(disk, spy), STABLE);
    device.writeConfig(wire.CONFIG_WRITEBACK, Uint8Array.of(1));
    assertEquals(change(disk, spy), CACHED);
  }));

Deno.test("a large write is stable in all its parts", () =>
  onFile("writethrough", ALL, (disk) => {
    using spy = new Spy();
    assertEquals(disk.do([head(T_OUT), new Uint8Array(400 * 1024)], [1]).status, S_OK);
    assertEquals(spy.ops, new Array(4).fill("writeStable"));
  }));

Deno.test("after a flush that failed all fail until the driver resets the device", () =>
  onFile("writeback", ALL, (disk) => {
    const { result } = Object.getOwnPropertyDescriptors(IoSlots.prototype);
    const real = result!.value as IoSlots["result"];
    const statuses: number[] = [];
    IoSlots.prototype.result = () => -5;
    try {
      statuses.push(disk.flush());
    } finally {
      IoSlots.prototype.result = real;
    }
    statuses.push(disk.flush(), disk.write(0, new Uint8Array(512)), disk.read(0, 512).status);
    assertEquals(statuses, [wire.S_IOERR, wire.S_IOERR, S_OK, S_OK]);
    const { device } = disk.bench;
    disk.bench.stop(0);
    device.disconnected();
    device.featuresAccepted(ALL);
    disk.wiring.start();
    assertEquals(disk.flush(), S_OK);
  }));

Deno.test("a driver that can switch the cache but not flush finds it off", () => {
  for (const [accepted, writeback] of [[ALL & ~FLUSH, 0], [ALL, 1], [ALL & ~WCE, 1]] as const) {
    onFile("writeback", accepted, (disk) => {
      assertEquals(disk.config.writeback, writeback);
      assertEquals(disk.bench.configChanges, 1 - writeback);
    });
  }
});

Deno.test("features that a disk may offer, and their requirements", () => {
  const [lifetime, secureErase, zoned] = [15, 16, 17].map(bit);
  for (const access of ["read-write", "read-only"] as const) {
    using disk = new Disk({ access });
    const { features } = disk.bench.device;
    assert((features & WCE) === 0n || (features & FLUSH) !== 0n, "CONFIG_WCE needs FLUSH");
    assertEquals(features & (lifetime! | secureErase! | zoned!), 0n);
  }
});
