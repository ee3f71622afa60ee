// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Fd, O_RDWR, OsError, pageSize } from "../../ffi/mod.ts";
import {
  AGL_RELEASES,
  AglLoopback,
  aglRelease,
  checkLoopback,
  checkUnopened,
  encodeEfdInit,
  encodeIdentity,
  encodeInt,
  nodeUse,
  parseIomem,
  SoftNode,
} from "../../lib/loopback/mod.ts";
import { FakeAglNode } from "./fake_agl.ts";

const RAM = [{ start: 0x4000_0000, end: 0x4400_0000 }];
const MULTI_SOUND = AGL_RELEASES["multi-sound"]!;

/** A file that stands in for a node, as `stat` sees it, beside this process; its path. */
function standIn(folder: string, size: number): string {
  const path = `${folder}/loopback-238`;
  Deno.writeFileSync(path, new Uint8Array(0));
  Deno.truncateSync(path, size);
  return path;
}

Deno.test("a node that was never opened may be opened; one that was is unusable, or in use", () => {
  const folder = Deno.realPathSync(Deno.makeTempDirSync());
  try {
    checkUnopened(standIn(folder, 0));
    assertEquals(nodeUse(standIn(folder, 0)), { kind: "unopened" });
    const path = standIn(folder, 2 ** 31);
    assertEquals(nodeUse(path), { kind: "spent" });
    const spent = assertThrows(() => checkUnopened(path), OsError, "it is unusable");
    assertEquals(spent.code, "ENODEV");
    assertMatch(spent.message, /restart the machine/);
    using _opener = Fd.open(path, O_RDWR);
    const busy = assertThrows(
      () => checkUnopened(path),
      OsError,
      `process ${Deno.pid} has it open`,
    );
    assertEquals(busy.code, "EBUSY");
    assertEquals(nodeUse(path), { kind: "open", pid: Deno.pid });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("AglLoopback.open() makes the ioctl calls in the only order that the driver accepts", () => {
  using soft = new SoftNode(0x400_0000);
  const node = new FakeAglNode(soft);
  {
    using loopback = AglLoopback.open(node, MULTI_SOUND, { memory: "isolated", ram: RAM });
    assertEquals(loopback.port.memory.map(({ guest, length }) => [guest, length]), [
      [0x4000_0000, 0x400_0000],
    ]);
    assertEquals(loopback.port.setsDone, false);
    loopback.start({ magic: 0x74726976, version: 1, deviceId: 25, vendor: 0x4c4f4956 });
  }
  assertEquals(node.calls, [
    "EFD_INIT",
    "SHARE_COM_STRUCT",
    "mmap page",
    `mmap window 0 of ${101 * pageSize()}`,
    `mmap window 1 of ${0x400_0000}`,
    "START_LOOPBACK",
  ]);
  assertEquals(node.closed, true);
});

Deno.test("AglLoopback.open() leaves the windows to the back-end in direct memory", () => {
  using soft = new SoftNode(0x400_0000);
  const node = new FakeAglNode(soft);
  using loopback = AglLoopback.open(node, MULTI_SOUND, { memory: "direct", ram: [] });
  assertEquals(node.calls, ["EFD_INIT", "SHARE_COM_STRUCT", "mmap page"]);
  assertEquals(loopback.port.memory, []);
  assertEquals(loopback.backEndLives, 1);
  assertEquals(loopback.shares.length, 8);
  assertEquals(loopback.shares[7], {
    guest: 7 * 2 ** 30,
    size: 2 ** 30,
    offset: 0,
    fd: soft.wires.memory,
  });
});

Deno.test("AglLoopback.open() closes what it made when the node is another driver's", () => {
  using soft = new SoftNode(0x400_0000);
  const node = new FakeAglNode(soft);
  node.ioctl = (_request, _argument, operation) => {
    throw new OsError(operation, 25);
  };
  const error = assertThrows(
    () => AglLoopback.open(node, MULTI_SOUND, { memory: "isolated", ram: RAM }),
    OsError,
  );
  assertEquals(error.code, "ENOTTY");
  assertEquals(node.closed, true);
});

Deno.test("aglRelease() finds the driver's release by the node's name", () => {
  assertEquals(aglRelease("/dev/loopback"), "epsilon");
  assertEquals(aglRelease("/dev/loopback-238"), "multi-sound");
  for (const name of ["/dev/loop0", "/dev/loopback-", "/dev/loopback-x", "loopback", ""]) {
    assertEquals(aglRelease(name), null, name);
  }
});

Deno.test("the driver's arguments, byte by byte", () => {
  assertEquals([...encodeEfdInit(7, 0x01020304)], [7, 0, 0, 0, 255, 255, 255, 255, 4, 3, 2, 1]);
  assertEquals([...encodeInt(44)], [44, 0, 0, 0]);
  const identity = { magic: 0x74726976, version: 2, deviceId: 25, vendor: 0x4c4f4956 };
  // deno-fmt-ignore
  assertEquals([...encodeIdentity(identity)], [
    0x76, 0x69, 0x72, 0x74, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    25, 0, 0, 0, 0, 0, 0, 0, 0x56, 0x49, 0x4f, 0x4c, 0, 0, 0, 0,
  ]);
});

Deno.test("parseIomem() finds System RAM and nothing inside or beside it", () => {
  const text = `00000000-00000fff : Reserved
40000000-bfffffff : System RAM
  40210000-4140ffff : Kernel code
100000000-1ffffffff : System RAM
`;
  assertEquals(parseIomem(text), [
    { start: 0x4000_0000, end: 0xc000_0000 },
    { start: 0x1_0000_0000, end: 0x2_0000_0000 },
  ]);
  const hidden = "00000000-00000000 : System RAM\n";
  assertThrows(() => parseIomem(hidden), Error, "run as root");
  assertThrows(() => parseIomem(""), Error, "run as root");
});

Deno.test("checkLoopback() refuses what is no loopback device, without opening it", () => {
  assertThrows(() => checkLoopback("/dev/null"), TypeError, "expected soft:PATH");
  assertThrows(
    () => checkLoopback("/dev/loopback-4711"),
    OsError,
    "is the loopback driver's module",
  );
  assertThrows(() => checkLoopback("soft:/nowhere/at/all"), OsError, "ENOENT");
  assertThrows(() => checkLoopback("soft:/dev/null"), OsError, "ENOTSOCK");
});
