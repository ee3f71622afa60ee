// SPDX-License-Identifier: Apache-2.0
// Devices of a lane want something at the same moment: the one of higher priority is served first. On one thread, so that
// a moment is one.
import { assertEquals } from "@std/assert";
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/mod.ts";
import { RingLane } from "../../lib/bridge/ring_lane.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { RingsBench } from "./rings_fixture.ts";

/** An entropy device in a lane. */
class Bench extends RingsBench {
  private constructor(readonly lane: RingLane, id: number, priority: number) {
    super(id, priority, ["request"]);
  }

  /** Puts a device in a lane, with a back-end that is live. */
  static async start(lane: RingLane, id: number, priority: number): Promise<Bench> {
    const bench = new Bench(lane, id, priority);
    await lane.handlers.add(bench.device);
    assertEquals(lane.handlers.attach(bench.activation), [0]);
    lane.handlers.replay(id);
    lane.handlers.resume(id);
    return bench;
  }

  override [Symbol.dispose](): void {
    void this.lane.handlers.remove(this.id);
    super[Symbol.dispose]();
  }
}

/** The order in which back-ends are rung: that in which epoll finds their eventfds ready. */
class Order implements Disposable {
  readonly #epoll = Epoll.create();

  constructor(benches: readonly Bench[]) {
    for (const { id, heard } of benches) this.#epoll.add(heard.number, EPOLLIN | EPOLLET, id);
    this.#epoll.wait(0); // what was rung before
  }

  /** Who was rung since this was last asked. */
  take(): number[] {
    const n = this.#epoll.wait(0);
    return Array.from({ length: n }, (_, i) => this.#epoll.found[2 * i]!);
  }

  [Symbol.dispose](): void {
    this.#epoll.close();
  }
}

const [LOW, HIGH, OTHER] = [1, 2, 3] as const;

async function withLane(body: (lane: RingLane) => Promise<void>): Promise<void> {
  await withoutLeaks(async () => {
    const lane = new RingLane(() => {});
    await body(lane);
    lane.close();
  });
}

Deno.test("of devices with work at the same moment the more urgent is served first, equals in turn", async () => {
  await withLane(async (lane) => {
    using low = await Bench.start(lane, LOW, 0);
    using high = await Bench.start(lane, HIGH, 1);
    using other = await Bench.start(lane, OTHER, 0);
    using order = new Order([low, high, other]);
    const rounds: [asking: Bench[], order: number[]][] = [
      [[low, high, other], [HIGH, LOW, OTHER]],
      [[other, low, high], [HIGH, LOW, OTHER]],
      [[low, other], [LOW, OTHER]],
      [[low], [LOW]],
      [[other, low], [OTHER, LOW]],
    ];
    for (const [asking, expected] of rounds) {
      for (const bench of asking) bench.ask(1);
      lane.turn(lane.epoll.wait(1000));
      assertEquals(order.take(), expected);
    }
    assertEquals([low.offered(), high.offered(), other.offered()], [5, 2, 4]);
  });
});

Deno.test("what becomes urgent while another has more than a batch is served before the rest of it", async () => {
  await withLane(async (lane) => {
    using low = await Bench.start(lane, LOW, 0);
    using high = await Bench.start(lane, HIGH, 1);
    const seen: number[] = [];
    low.ask(60);
    const n = lane.epoll.wait(1000);
    high.ask(1); // heard of only after the first batch
    const { wait } = lane.epoll;
    lane.epoll.wait = (timeoutMs) => {
      seen.push(low.offered() + 100 * high.offered());
      return wait.call(lane.epoll, timeoutMs);
    };
    lane.turn(n);
    assertEquals(seen.slice(0, 2), [16, 116]);
    assertEquals([low.offered(), high.offered()], [60, 1]);
  });
});
