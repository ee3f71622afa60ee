// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { GuestError } from "../../lib/guest/error.ts";
import { GuestPages, PAGE_SIZE } from "../../lib/guest/pages.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";

const BASE = 0x4000_0000;

function pages(count: number, extra = 0): GuestPages {
  const buffer = new ArrayBuffer(count * PAGE_SIZE + extra);
  return new GuestPages(new GuestMemory([{ guest: BASE, buffer }]), BASE, buffer.byteLength);
}

Deno.test("GuestPages hands out whole zeroed pages, none twice", () => {
  const all = pages(8, 100);
  const addresses = [1, 4096, 4097, 8192].map((bytes) => all.allocate(bytes));
  assertEquals(addresses.map((address) => (address - BASE) / PAGE_SIZE), [0, 1, 2, 4]);
  assertEquals(all.inUse, 6);
  all.bytes(addresses[0]!, PAGE_SIZE).fill(7);
  all.free(addresses[0]!, 1);
  all.allocate(2 * PAGE_SIZE);
  const again = all.allocate(1);
  assertEquals(again, addresses[0]);
  assert(all.bytes(again, PAGE_SIZE).every((byte) => byte === 0));
});

Deno.test("GuestPages reuses freed pages last", () => {
  const all = pages(4);
  const first = all.allocate(1);
  all.free(first, 1);
  assertEquals(all.allocate(1), BASE + PAGE_SIZE);
  all.freeAll();
  assertEquals(all.allocate(1), BASE + 2 * PAGE_SIZE);
  assertEquals(all.inUse, 1);
});

Deno.test("GuestPages finds room that begins before the place where it looks first", () => {
  const all = pages(4);
  const three = all.allocate(3 * PAGE_SIZE);
  all.allocate(1);
  all.free(three, 3 * PAGE_SIZE);
  assertEquals(all.allocate(3 * PAGE_SIZE), three);
});

Deno.test("GuestPages.allocateScattered() gives no two neighbours in order", () => {
  const addresses = pages(16).allocateScattered(6 * PAGE_SIZE - 1);
  assertEquals(addresses.length, 6);
  addresses.slice(1).forEach((address, i) => assert(address !== addresses[i]! + PAGE_SIZE));
  assertEquals(new Set(addresses).size, 6);
});

Deno.test("GuestPages says when there is no room", () => {
  const all = pages(4);
  all.allocate(2 * PAGE_SIZE);
  all.allocate(1);
  const error = assertThrows(() => all.allocate(2 * PAGE_SIZE), GuestError);
  assertEquals(
    error.message,
    "Cannot allocate 2 pages of guest memory: 3 of 4 are in use (ENOMEM)",
  );
});
