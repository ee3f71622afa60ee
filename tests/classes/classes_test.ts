// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  DEVICE_CLASSES,
  deviceClassByDropInName,
  deviceClassById,
  deviceClassByName,
} from "../../lib/classes/mod.ts";

Deno.test("a class is found by id, name and drop-in name, and by nothing else", () => {
  for (const row of DEVICE_CLASSES) {
    assertEquals(deviceClassById(row.id), row);
    assertEquals(deviceClassByName(row.name), row);
    for (const name of row.dropInNames) assertEquals(deviceClassByDropInName(name), row);
  }
  assertEquals(deviceClassById(0), undefined);
  assertEquals(deviceClassByName("vhusnd"), undefined);
  assertEquals(deviceClassByDropInName("sound"), undefined);
  assertEquals(deviceClassByDropInName("toString"), undefined);
});

Deno.test("every -d of the C program with a back-end is served", () => {
  const served = DEVICE_CLASSES.flatMap((row) => row.dropInNames);
  assertEquals(served.sort(), [
    "vhublk",
    "vhucan",
    "vhuconsole",
    "vhugpio",
    "vhuinput",
    "vhurng",
    "vhusnd",
  ]);
});
