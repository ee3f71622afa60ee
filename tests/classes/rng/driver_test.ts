// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { GuestError } from "../../../lib/guest/error.ts";
import { ORDER } from "../../../lib/guest/progress.ts";
import { RingError } from "../../../lib/virtio/error.ts";
import { entropyBench } from "../../guest/harness.ts";

Deno.test("entropy is read over many buffers, and none of it twice", () => {
  for (const mmioVersion of [1, 2] as const) {
    const { session } = entropyBench({ mmioVersion, eventIdx: mmioVersion === 2 });
    session.probe(0);
    const bytes = session.readEntropy(64 * 1000 + 17);
    const words = new Set<string>();
    for (let i = 0; i + 8 <= bytes.length; i += 8) words.add(bytes.subarray(i, i + 8).join());
    assertEquals(words.size, 8002);
    assertEquals(session.readEntropy(0).length, 0);
  }
});

Deno.test("a buffer that is not full counts by what is in it", () => {
  const { port, session } = entropyBench({ script: { rngBytes: 3 } });
  session.probe(0);
  port.device.log.notifications = [];
  assertEquals(session.readEntropy(10).length, 10);
  assertEquals(port.device.log.notifications.length, 3);
});

Deno.test("a device that returns nothing is waited for until the deadline", () => {
  const { port, session } = entropyBench();
  port.device.run = () => {};
  session.probe(0);
  const error = assertThrows(() => session.readEntropy(1), GuestError);
  assertEquals(
    error.message,
    "Cannot read entropy from rng0: no buffer came back in 250 ms (ETIMEDOUT)",
  );
});

Deno.test("stop() ends a read with what there is", () => {
  const { port, session, progress } = entropyBench();
  session.probe(0);
  const run = port.device.run.bind(port.device);
  let runs = 0;
  port.device.run = () => {
    if (++runs > 2) progress.set("order", ORDER.stop);
    else run();
  };
  assertEquals(session.readEntropy(1000).length, 128);
});

Deno.test("requests and accesses are measured one by one", () => {
  const { session } = entropyBench();
  session.probe(0);
  for (const times of [session.measureRequests(50), session.measureAccess(50)]) {
    assertEquals(times.length, 50);
    assert(times.every((ns) => ns > 0 && ns < 1e9));
  }
  assertEquals(session.readEntropy(100).length, 100);
});

Deno.test("a malformed used ring of an entropy device is found", () => {
  for (const fault of ["usedHead", "usedIdx", "usedLength"] as const) {
    const { session } = entropyBench({ script: { corrupt: fault } });
    session.probe(0);
    assertThrows(() => session.readEntropy(1), RingError, "queue 0 of rng0");
  }
});
