// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BlockingWorker, EventFd, signalEvent, takeEvent } from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import type { FixtureContract, FixtureInit } from "./worker_fixture.ts";

const FIXTURE = new URL("./worker_fixture.ts", import.meta.url);

/** A Worker with its two doorbells. */
class Bench implements AsyncDisposable {
  readonly ring = EventFd.create();
  readonly answer = EventFd.createBlocking();
  readonly events: FixtureContract["event"][] = [];
  readonly failures: string[] = [];
  #failed = Promise.withResolvers<void>();
  worker!: BlockingWorker<FixtureContract>;

  static async start(init: Partial<FixtureInit> = {}): Promise<Bench> {
    const bench = new Bench();
    bench.worker = await BlockingWorker.start<FixtureContract>(FIXTURE, {
      name: "fixture",
      init: { ring: bench.ring.number, answer: bench.answer.number, ...init },
      onEvent: (event) => bench.events.push(event),
      onFailure: ({ message }) => {
        bench.failures.push(message);
        bench.#failed.resolve();
      },
    });
    return bench;
  }

  /** Rings, so that its turn fails, and waits until the owner knows. */
  async fail(): Promise<void> {
    signalEvent(this.ring.number);
    await this.#failed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker.close();
    this.ring.close();
    this.answer.close();
  }
}

/** Runs a test with a Worker that leaves nothing behind. */
function benchTest(
  name: string,
  body: (bench: Bench) => Promise<void>,
  init: Partial<FixtureInit> = {},
): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using bench = await Bench.start(init);
      await body(bench);
    }));
}

benchTest(
  "BlockingWorker answers doorbells and calls, and reports, while it blocks",
  async (bench) => {
    const { worker, ring, answer, events } = bench;
    for (let i = 0; i < 20; i++) {
      signalEvent(ring.number);
      assertEquals(takeEvent(answer.number), 1);
    }
    assertEquals(await worker.call("add", 2, 3), 5);
    const sums = Array.from({ length: 10 }, (_, i) => worker.call("add", i, i));
    assertEquals(await Promise.all(sums), Array.from({ length: 10 }, (_, i) => 2 * i));
    assertEquals(events, [{ rings: 10 }, { rings: 20 }]); // reported before the calls were answered
  },
);

benchTest("calls are done one after the other, and answered in order", async ({ worker }) => {
  const order: number[] = [];
  await Promise.all([3, 1, 2].map(async (value) => {
    order.push(await worker.call("later", value));
  }));
  assertEquals(order, [3, 1, 2]);
});

benchTest(
  "a call that fails rejects for its caller, and the Worker keeps serving",
  async ({ worker }) => {
    await assertRejects(() => worker.call("fail", "as told"), Error, "as told");
    await assertRejects(() => worker.call("failLater", "as told"), Error, "as told");
    // @ts-expect-error: no such call; a caller of another version may know one
    await assertRejects(() => worker.call("missing"), Error, "no such handler");
    // @ts-expect-error: nor may it be one that every object has
    await assertRejects(() => worker.call("toString"), Error, "no such handler");
    await assertRejects(() => worker.call("function"), Error, "could not be cloned");
    // @ts-expect-error: no number, and nothing that can be sent
    await assertRejects(() => worker.call("add", 1, () => {}), Error, "could not be cloned");
    assertEquals(await worker.call("add", 1, 1), 2);
  },
);

benchTest("a failure outside a call rejects pending calls, and is reported once", async (bench) => {
  const { worker } = bench;
  await bench.fail();
  assertEquals(bench.failures, ["out of turn"]);
  await assertRejects(() => worker.call("add", 1, 1), Error, "out of turn");
  await worker.close();
  await assertRejects(() => worker.call("add", 1, 1), Error, "out of turn");
  assertEquals(bench.failures, ["out of turn"]);
}, { failInTurn: "out of turn" });

benchTest("a failure while calls wait rejects every one of them", async (bench) => {
  using gate = EventFd.createBlocking();
  const waiting = bench.worker.call("block", gate.number);
  takeEvent(bench.answer.number);
  signalEvent(bench.ring.number); // its next turn fails, when the call at hand is done
  const calls = [1, 2].map(() => bench.worker.call("add", 1, 1).then(String, String));
  signalEvent(gate.number);
  assertEquals(await waiting, 1);
  assertEquals(await Promise.all(calls), ["Error: out of turn", "Error: out of turn"]);
}, { failInTurn: "out of turn" });

benchTest(
  "close() twice is one end, and a call after it is refused in words",
  async ({ worker }) => {
    const [first, second] = [worker.close(), worker.close()];
    assert(first === second);
    await assertRejects(() => worker.call("add", 1, 1), Error, "fixture: it is closed");
    await first;
    await assertRejects(() => worker.call("add", 1, 1), Error, "fixture: it is closed");
  },
);

benchTest("close() while a call is pending lets it end first", async ({ worker }) => {
  const calls = [1, 2, 3].map((value) => worker.call("later", value));
  await worker.close();
  assertEquals(await Promise.all(calls), [1, 2, 3]);
});

benchTest(
  "a call that takes too long is given up, and its late answer is nobody else's",
  async (bench) => {
    using gate = EventFd.createBlocking();
    const late = bench.worker.callWithin(10, "block", gate.number);
    await assertRejects(() => late, Error, "did not answer block within 10 ms");
    signalEvent(gate.number);
    assertEquals(await bench.worker.call("add", 20, 1), 21);
  },
);

Deno.test("BlockingWorker.start() passes on why set-up failed", async () => {
  await withoutLeaks(async () => {
    const init: FixtureInit = { ring: 0, answer: 0, fail: "no lane" };
    const start = () => BlockingWorker.start<FixtureContract>(FIXTURE, { name: "fixture", init });
    await assertRejects(start, Error, "no lane");
  });
});

Deno.test("BlockingWorker.start() passes on that there is no such script", async () => {
  await withoutLeaks(async () => {
    const script = new URL("./no_such_worker.ts", import.meta.url);
    const start = () => BlockingWorker.start(script, { name: "fixture", init: {} });
    await assertRejects(start, Error, "fixture failed");
  });
});
