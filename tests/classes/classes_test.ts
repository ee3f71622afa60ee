// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import {
  DEVICE_CLASSES,
  deviceClassByDropInName,
  deviceClassById,
  deviceClassByName,
  UNSERVED_DROP_INS,
} from "../../lib/classes/mod.ts";
import type { BackEndProfile } from "../../lib/virtio/device_class.ts";
import { CONFIG_SPACE_BYTES, isQueueSize } from "../../lib/virtio/state.ts";

/** A back-end with nothing but what its class needs. */
const PROFILE: BackEndProfile = { features: 0n, queueCount: 256, config: new Uint8Array(256) };

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

Deno.test("the rows have the queues and config space of the standard", () => {
  const summary = DEVICE_CLASSES.map(({ id, name, queues, config }) => ({
    id,
    name,
    queues: queues(PROFILE).map((queue) => `${queue.name} ${queue.kind} ${queue.size}`),
    config: [config.min, config.max, config.access, config.required],
  }));
  assertEquals(summary, [
    {
      id: 25,
      name: "sound",
      queues: ["control request 64", "event event 64", "tx stream 64", "rx stream 64"],
      config: [12, 16, "cached", true],
    },
    { id: 4, name: "rng", queues: ["request request 64"], config: [0, 0, "cached", false] },
  ]);
});

Deno.test("any row is one that the registers can present", () => {
  for (const { name, queues: queuesOf, config } of DEVICE_CLASSES) {
    const queues = queuesOf(PROFILE);
    assert(queues.length > 0 && queues.every(({ size }) => isQueueSize(size)), name);
    assertEquals(new Set(queues.map((queue) => queue.name)).size, queues.length);
    assert(config.min <= config.max && config.max <= CONFIG_SPACE_BYTES, name);
  }
  assertEquals(new Set(DEVICE_CLASSES.map((row) => row.id)).size, DEVICE_CLASSES.length);
  assertEquals(new Set(DEVICE_CLASSES.map((row) => row.name)).size, DEVICE_CLASSES.length);
});

Deno.test("every -d of the C adapter is either served or refused by name, never both", () => {
  const served = DEVICE_CLASSES.flatMap((row) => row.dropInNames);
  const refused = UNSERVED_DROP_INS.map(({ name }) => name);
  assertEquals([...served, ...refused].sort(), [
    "vhublk",
    "vhucan",
    "vhuconsole",
    "vhugpio",
    "vhuinput",
    "vhurng",
    "vhusnd",
    "vrng",
  ]);
});
