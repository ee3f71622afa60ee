// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { Chain } from "../../lib/virtio/split_ring.ts";
import { DATA, RawRing } from "./ring_fixture.ts";

Deno.test("needsInterrupt() follows the driver's flag", () => {
  const raw = new RawRing(4);
  for (let i = 0; i < 4; i++) raw.desc(i, DATA, 1);
  raw.offer(0, 0, 1, 2);
  raw.usedEvent(77); // Means nothing here.
  const ring = raw.device();
  const chain = new Chain();
  const serve = () => ring.pop(chain) && ring.complete(chain.head, 0);
  assertEquals(ring.needsInterrupt(), false);
  serve();
  assertEquals([ring.needsInterrupt(), ring.needsInterrupt()], [true, false]);
  raw.availFlags(1);
  serve();
  assertEquals(ring.needsInterrupt(), false);
  raw.availFlags(0xfffe); // Only bit 0 counts.
  assertEquals(ring.needsInterrupt(), false);
  serve();
  assertEquals(ring.needsInterrupt(), true);
});

Deno.test("needsInterrupt() interrupts when used_event is passed, across the wrap", () => {
  const cases: [start: number, completed: number, event: number, wanted: boolean][] = [
    [0, 1, 0, true],
    [0, 1, 1, false],
    [0, 3, 2, true],
    [0, 3, 3, false],
    [0, 3, 65535, false],
    [65534, 1, 65534, true],
    [65534, 1, 65535, false],
    [65534, 2, 65535, true],
    [65534, 3, 0, true],
    [65534, 3, 65535, true],
    [65534, 3, 1, false],
    [65534, 3, 65533, false],
  ];
  for (const [start, completed, event, wanted] of cases) {
    const raw = new RawRing(8);
    for (let i = 0; i < 8; i++) raw.desc(i, DATA, 1);
    raw.usedIdx((start - 1) & 0xffff);
    raw.offer((start - 1) & 0xffff, 7, 6, 5, 4);
    raw.availFlags(1); // Means nothing here.
    const ring = raw.device({ eventIdx: true, nextAvail: (start - 1) & 0xffff });
    const chain = new Chain();
    const serve = () => ring.pop(chain) && ring.complete(chain.head, 0);
    serve();
    assert(ring.needsInterrupt(), "the first after a start, whatever the event");
    for (let i = 0; i < completed; i++) serve();
    raw.usedEvent(event);
    assertEquals(ring.needsInterrupt(), wanted, `${[start, completed, event]}`);
    assertEquals(ring.needsInterrupt(), false);
  }
});

Deno.test("needsInterrupt() is true after 65536 used chains, wherever used_event is", () => {
  const raw = new RawRing(1);
  raw.desc(0, DATA, 1);
  const ring = raw.device({ eventIdx: true });
  const chain = new Chain();
  const serve = (times: number) => {
    for (let i = 0; i < times; i++) {
      raw.offer(ring.nextAvail, 0);
      assert(ring.pop(chain));
      ring.complete(0, 0);
    }
  };
  serve(1);
  ring.needsInterrupt();
  raw.usedEvent(0);
  serve(65536);
  assert(ring.needsInterrupt());
});

Deno.test("notifications are switched by the used ring's flag, or armed by avail_event", () => {
  for (const eventIdx of [false, true]) {
    const raw = new RawRing(4);
    raw.usedIdx(65535);
    raw.availIdx(65535);
    raw.usedFlags(eventIdx ? 0 : 1);
    for (let i = 0; i < 4; i++) raw.desc(i, DATA, 1);
    const ring = raw.device({ eventIdx, nextAvail: 65535 });
    const chain = new Chain();
    assertEquals(ring.enableNotifications(), false);
    assertEquals([raw.usedFlags(), raw.availEvent()], [0, eventIdx ? 65535 : 0]);
    raw.offer(65535, 2);
    ring.disableNotifications();
    assertEquals(raw.usedFlags(), eventIdx ? 0 : 1);
    assert(ring.enableNotifications(), "one came before: look again");
    assert(ring.pop(chain));
    assertEquals(ring.enableNotifications(), false);
    assertEquals([raw.usedFlags(), raw.availEvent()], [0, 0]);
    raw.availIdx(100);
    assertThrows(() => ring.enableNotifications(), RingError, "the available idx is 100");
  }
});
