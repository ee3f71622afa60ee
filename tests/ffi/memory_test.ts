// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import {
  createMemory,
  EventFd,
  Mapping,
  OsError,
  pagesAround,
  pageSize,
  readFd,
  viewMemory,
  writeFd,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

Deno.test("two mappings of one memory see each other's bytes, also from an offset", async () => {
  await withoutLeaks(() => {
    const page = pageSize();
    using memory = createMemory("test", 3 * page);
    assertEquals(memory.size(), 3 * page);
    using whole = Mapping.create(memory, 3 * page);
    using last = Mapping.create(memory, page, 2 * page);
    memory.close(); // a mapping needs its descriptor no longer
    const a = new Uint8Array(viewMemory(whole));
    const b = new Uint8Array(viewMemory(last.range));
    assertEquals(a.every((byte) => byte === 0), true);
    a[2 * page + 7] = 42;
    assertEquals(b[7], 42);
    Atomics.store(new Int32Array(viewMemory(last)), 2, -1);
    assertEquals(a.slice(2 * page + 8, 2 * page + 12), Uint8Array.of(255, 255, 255, 255));
  });
});

Deno.test("a mapping is unmapped once, and has no address afterwards", async () => {
  await withoutLeaks(() => {
    using memory = createMemory("test", 4096);
    const mapping = Mapping.create(memory, 4096);
    mapping.close();
    mapping.close();
    assertThrows(() => mapping.address, TypeError, "unmapped");
    assertThrows(() => mapping.range, TypeError, "unmapped");
    assertThrows(() => viewMemory(mapping), TypeError, "unmapped");
  });
});

/** The VmFlags that /proc/self/smaps gives for the mapping that begins at an address (proc_pid_smaps(5)). */
function flagsOf(address: bigint): string[] {
  const start = address.toString(16);
  const entries = Deno.readTextFileSync("/proc/self/smaps").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const entry = entries.find((text) => text.startsWith(`${start}-`));
  return /^VmFlags: (.*)$/m.exec(entry ?? "")![1]!.trim().split(" ");
}

Deno.test("no mapping is inherited by a child process", () => {
  using memory = createMemory("test", 8192);
  using whole = Mapping.create(memory, 8192);
  using part = Mapping.create(memory, 4096, 4096);
  for (const { address } of [whole, part]) {
    assertEquals(flagsOf(address).includes("dc"), true, "dc: not copied on fork");
  }
});

Deno.test("memory that was handed out cannot be cut short, nor made longer", () => {
  using memory = createMemory("test", 8192);
  using mapping = Mapping.create(memory, 8192);
  using other = memory.duplicate(); // as a back-end gets it
  const file = Deno.openSync(`/proc/self/fd/${other.number}`, { read: true, write: true });
  try {
    for (const size of [0, 4096, 16384]) {
      assertThrows(() => file.truncateSync(size), Error, "Operation not permitted");
    }
  } finally {
    file.close();
  }
  new Uint8Array(viewMemory(mapping))[8191] = 1; // would end the process if it were cut
  assertEquals(memory.size(), 8192);
  const bytes = new Uint8Array(1);
  assertEquals(writeFd(memory.number, new Uint8Array(8192), 0, 8192), 8192);
  assertEquals(writeFd(memory.number, bytes, 0, 1), -1); // EPERM at its end
  assertEquals(readFd(memory.number, bytes, 0, 1), 0);
});

Deno.test("pagesAround() takes in whole pages only", () => {
  const huge = 2 ** 21;
  const cases: [offset: number, length: number, page: number, at: number, bytes: number][] = [
    [0, 4096, 4096, 0, 4096],
    [4096, 1, 4096, 4096, 4096],
    [4095, 2, 4096, 0, 8192],
    [0, 4096, huge, 0, huge],
    [huge - 4096, 4096, huge, 0, huge],
    [huge - 4096, 4097, huge, 0, 2 * huge],
    [3 * huge + 4096, huge, huge, 3 * huge, 2 * huge],
    [2 ** 40, 2 ** 33, 2 ** 30, 2 ** 40, 2 ** 33],
  ];
  for (const [offset, length, page, at, bytes] of cases) {
    assertEquals(pagesAround(offset, length, page), { offset: at, length: bytes });
  }
});

Deno.test("Mapping.createWithin() maps from any offset, and unmaps all that it mapped", async () => {
  await withoutLeaks(() => {
    using memory = createMemory("test", 3 * pageSize());
    using whole = Mapping.create(memory, 3 * pageSize());
    const bytes = new Uint8Array(viewMemory(whole));
    bytes.forEach((_, i) => bytes[i] = i % 251);
    for (const [offset, length] of [[1, 1], [4000, 5000], [4096, 4096], [5000, 7288]] as const) {
      using part = Mapping.createWithin(memory, length, offset);
      assertEquals(part.length, length);
      assertEquals(new Uint8Array(viewMemory(part)), bytes.slice(offset, offset + length));
    }
  });
});

Deno.test("what cannot be mapped is named, with both values", () => {
  using memory = createMemory("test", 4096);
  const cases: [() => Mapping, string, string][] = [
    [() => Mapping.create(memory, 0), "map 0 bytes", "EINVAL"],
    [() => Mapping.create(memory, 4096, 1), "map 4096 bytes", "EINVAL"],
  ];
  using event = EventFd.create();
  cases.push([() => Mapping.create(event, 4096), `of descriptor ${event.number}`, "ENODEV"]);
  for (const [make, text, code] of cases) {
    assertEquals(assertThrows(make, OsError, text).code, code);
  }
  assertThrows(() => createMemory("a".repeat(300), 4096), OsError, "create 4096 bytes");
  assertThrows(() => viewMemory({ address: 0n, length: 1 }), TypeError, "address 0");
});
