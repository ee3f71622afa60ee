// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertRejects } from "@std/assert";
import { BlockingWorker, EventFd, signalEvent, takeEvent } from "../../ffi/mod.ts";

const FIXTURE = new URL("./worker_fixture.ts", import.meta.url);

Deno.test("BlockingWorker answers doorbells and calls, and reports, while it blocks", async () => {
  using ring = EventFd.create();
  using answer = EventFd.createBlocking();
  const events: unknown[] = [];
  const reported = Promise.withResolvers<void>();
  await using worker = await BlockingWorker.start(FIXTURE, {
    name: "fixture",
    init: { ring: ring.number, answer: answer.number },
    onEvent: (event) => {
      events.push(event);
      if (events.length === 2) reported.resolve();
    },
  });
  for (let i = 0; i < 20; i++) {
    signalEvent(ring.number);
    assertEquals(takeEvent(answer.number), 1);
  }
  assertEquals(await worker.call("add", { a: 2, b: 3 }), 5);
  const sums = Array.from({ length: 10 }, (_, i) => worker.call("add", { a: i, b: i }));
  assertEquals(await Promise.all(sums), Array.from({ length: 10 }, (_, i) => 2 * i));
  await assertRejects(() => worker.call("fail", "as told"), Error, "as told");
  await assertRejects(() => worker.call("missing"), Error, "no such handler");
  await reported.promise;
  assertEquals(events, [{ rings: 10 }, { rings: 20 }]);
});

Deno.test("BlockingWorker.start() passes on why set-up failed", async () => {
  await assertRejects(
    () =>
      BlockingWorker.start(FIXTURE, {
        name: "fixture",
        init: { ring: 0, answer: 0, fail: "no lane" },
      }),
    Error,
    "no lane",
  );
});
