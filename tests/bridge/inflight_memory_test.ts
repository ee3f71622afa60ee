// SPDX-License-Identifier: Apache-2.0
// The in-flight memory of a device with direct memory: whose it is, when it is cleared, who may take it over.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createMemory, Mapping, OsError, viewMemory } from "../../ffi/mod.ts";
import { InflightMemory } from "../../lib/bridge/inflight_memory.ts";
import type { ActivationRing } from "../../lib/bridge/lane_messages.ts";
import { VhostUserError } from "../../lib/vhost_user/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

const SHAPE = { queues: 3, queueSize: 16 };
/** Bytes of a block, and of all. */
const [BLOCK, ALL] = [320, 960];

/** A back-end that needs as much as it says. */
function backEnd({ tracksInflight = true, size = ALL } = {}) {
  return {
    profile: { tracksInflight } as never,
    inflightSize: () => Promise.resolve(size),
  };
}

/** A ring of each queue; those of viola's have slots. */
function rings(...shadow: number[]): ActivationRing[] {
  return [0, 1, 2].map((index) => ({ index, slots: shadow.includes(index) ? {} : null }) as never);
}

/** The memory as its back-end maps it. */
function mapped(memory: InflightMemory): Mapping {
  return Mapping.create(memory.fd, ALL);
}

Deno.test("a new epoch begins with zeros; in the same one it stays as back-ends leave it", () =>
  withoutLeaks(async () => {
    using memory = InflightMemory.create("card", SHAPE);
    using mapping = mapped(memory);
    const bytes = new Uint8Array(viewMemory(mapping.range));
    const first = await memory.offer(backEnd(), 7, rings());
    assertEquals(first, {
      slot: { ...SHAPE, size: ALL, fd: memory.fd.number },
      isResumed: false,
    });
    bytes.fill(1);
    assertEquals((await memory.offer(backEnd(), 7, rings())).isResumed, true);
    assert(bytes.every((byte) => byte === 1));
    assertEquals((await memory.offer(backEnd(), 8, rings())).isResumed, false);
    assert(bytes.every((byte) => byte === 0));
  }));

Deno.test("shadow rings are new with each back-end: their blocks are cleared, no others", () =>
  withoutLeaks(async () => {
    using memory = InflightMemory.create("card", SHAPE);
    using mapping = mapped(memory);
    const bytes = new Uint8Array(viewMemory(mapping.range));
    await memory.offer(backEnd(), 1, rings(1));
    bytes.fill(1);
    assertEquals((await memory.offer(backEnd(), 1, rings(1))).isResumed, true);
    const cleared = [...bytes].map((byte, i) => byte === 0 ? i : -1).filter((i) => i >= 0);
    assertEquals([cleared[0], cleared.at(-1), cleared.length], [BLOCK, 2 * BLOCK - 1, BLOCK]);
  }));

Deno.test("what was noted before a back-end that notes nothing, or in another layout, does not count", () =>
  withoutLeaks(async () => {
    using memory = InflightMemory.create("card", SHAPE);
    await memory.offer(backEnd(), 1, rings());
    const none = await memory.offer(backEnd({ tracksInflight: false }), 1, rings());
    assertEquals(none, { slot: null, isResumed: false });
    assertEquals((await memory.offer(backEnd(), 1, rings())).isResumed, false);
    assertEquals((await memory.offer(backEnd(), 1, rings())).isResumed, true);
    const other = await memory.offer(backEnd({ size: ALL + 64 }), 1, rings());
    assertEquals([other.isResumed, other.slot!.size], [false, ALL + 64]);
  }));

Deno.test("a back-end that fails when it is asked leaves the memory as it was", () =>
  withoutLeaks(async () => {
    using memory = InflightMemory.create("card", SHAPE);
    await memory.offer(backEnd(), 1, rings());
    const failing = {
      ...backEnd(),
      inflightSize: () => Promise.reject(new VhostUserError("late", "no reply")),
    };
    await assertRejects(() => memory.offer(failing, 1, rings()), VhostUserError, "no reply");
    assertEquals((await memory.offer(backEnd(), 1, rings())).isResumed, true);
  }));

Deno.test("the next process takes it over, with what is noted there", () =>
  withoutLeaks(async () => {
    using memory = InflightMemory.create("card", SHAPE);
    await memory.offer(backEnd(), 3, rings());
    using other = createMemory("viola-state-card", 4096);
    using copy = memory.fd.duplicate();
    assertEquals([copy, other].map((fd) => InflightMemory.isOne(fd)), [true, false]);
    using restored = InflightMemory.restore(memory.fd.duplicate(), SHAPE);
    assertEquals((await restored.offer(backEnd(), 3, rings())).isResumed, true);
    assertThrows(
      () => InflightMemory.restore(other, SHAPE),
      RangeError,
      "its in-flight memory has 4096 bytes, expected 73728",
    );
  }));

Deno.test("no back-end can cut it short", () =>
  withoutLeaks(async () => {
    using memory = InflightMemory.create("card", SHAPE);
    const path = `/proc/self/fd/${memory.fd.number}`;
    const error = await Deno.truncate(path, 0).catch((error) => error);
    assert(error instanceof Error && !(error instanceof OsError), `${error}`);
    assertEquals((await Deno.stat(path)).size, 73728);
  }));
