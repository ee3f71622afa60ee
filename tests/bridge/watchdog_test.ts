// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { arm, createArming, disarm } from "../../lib/bridge/arming.ts";
import type { ActivationRing } from "../../lib/bridge/lane_messages.ts";
import type { Progress } from "../../lib/bridge/lane_queue.ts";
import { checkMsOf, type QueueLimits, Watchdog } from "../../lib/bridge/watchdog.ts";
import { RING_QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import type { QueueClass } from "../../lib/virtio/device_class.ts";
import { createState, SOUND_QUEUES } from "../virtio/register_fixture.ts";

const CHECKS = Watchdog.CHECKS;
const LIMITS: QueueLimits = { streamMs: 5000, requestMs: Infinity };
const SLOTS: ActivationRing["slots"] = { start: 0, end: 0, first: 0 };
const [CONTROL, EVENT, TX, RX] = [0, 1, 2, 3];

interface BenchOptions {
  queues?: readonly QueueClass[];
  limits?: QueueLimits;
  /** Whether the queues are direct ones. */
  isDirect?: boolean;
  /** The queues that the driver has set up. */
  present?: number[];
}

/** The watchdog of a device, a sound card unless told otherwise, and the ring Worker that it asks. */
class Bench {
  readonly arming = createArming();
  readonly ring;
  readonly watchdog: Watchdog;
  /** What the ring Worker finds of each queue. */
  readonly answers: Progress[];
  /** Called while the ring Worker is asked. */
  whileAsked = (): void => {};
  /** How often it was asked. */
  asked = 0;

  constructor(options: BenchOptions = {}) {
    const { queues = SOUND_QUEUES, limits = LIMITS, isDirect = false } = options;
    const { ring, main } = createState({ queueSizes: queues.map(({ size }) => size) });
    this.ring = ring;
    this.answers = queues.map(() => "settled");
    const rings = (options.present ?? [...queues.keys()]).map((index) => ({
      index,
      slots: isDirect ? null : SLOTS,
    }));
    this.watchdog = new Watchdog({ queues, state: main, arming: this.arming, rings }, limits);
  }

  check(): ReturnType<Watchdog["check"]> {
    return this.watchdog.check(() => {
      this.asked++;
      this.whileAsked();
      return Promise.resolve([...this.answers]);
    });
  }

  async checks(count: number): Promise<unknown[]> {
    const found = [];
    for (let i = 0; i < count; i++) found.push(await this.check());
    return found;
  }

  /** A chain is in flight, and due. */
  owe(queue: number, progress: Progress = "due"): void {
    this.ring.queues[queue]!.takeOn(1);
    this.answers[queue] = progress;
  }

  complete(queue: number): void {
    this.ring.queues[queue]!.count(RING_QUEUE_COUNTERS.completions);
  }

  get isArmed(): boolean {
    return !arm(this.arming);
  }
}

Deno.test("a queue whose chains are due at so many checks in a row is stuck", async () => {
  const bench = new Bench();
  bench.owe(TX);
  // The first check finds what was given back before.
  assertEquals(await bench.checks(CHECKS), Array(CHECKS).fill(null));
  assertEquals(await bench.checks(1), [{ index: TX, ms: 5000, isStuck: true }]);
});

Deno.test("one that gives anything back is not, however slowly", async () => {
  const bench = new Bench();
  for (const queue of [CONTROL, TX, RX]) bench.owe(queue);
  for (let i = 0; i < 10; i++) {
    assertEquals(await bench.checks(CHECKS - 1), Array(CHECKS - 1).fill(null));
    for (const queue of [CONTROL, TX, RX]) bench.complete(queue);
  }
});

Deno.test("one that owes nothing is not, and what it did not owe does not count", async () => {
  const bench = new Bench();
  bench.owe(TX, "settled");
  bench.owe(CONTROL);
  for (let i = 0; i < 20; i++) {
    bench.complete(CONTROL);
    assertEquals(await bench.check(), null);
  }
  bench.answers[TX] = "due";
  const found: unknown[] = [];
  for (let i = 0; i < CHECKS; i++) {
    bench.complete(CONTROL);
    found.push(await bench.check());
  }
  assertEquals(found, [...Array(CHECKS - 1).fill(null), { index: TX, ms: 5000, isStuck: true }]);
});

Deno.test("event queues wait as long as there is nothing to tell", async () => {
  const bench = new Bench();
  bench.owe(EVENT);
  assertEquals(await bench.checks(20), Array(20).fill("idle"));
});

Deno.test("one stuck queue is found beside others that work", async () => {
  const bench = new Bench();
  for (const queue of [CONTROL, TX, RX]) bench.owe(queue);
  let found: unknown[] = [];
  for (let i = 0; i <= CHECKS; i++) {
    bench.complete(CONTROL);
    bench.complete(TX);
    found = await bench.checks(1);
  }
  assertEquals(found, [{ index: RX, ms: 5000, isStuck: true }]);
});

Deno.test("requests of a class without streams may take for ever, unless the user sets a limit", async () => {
  const queues: QueueClass[] = [{ name: "request", kind: "request", size: 64 }];
  const patient = new Bench({ queues });
  patient.owe(0);
  const found = await patient.checks(1000);
  assertEquals(found[CHECKS], { index: 0, ms: 5000, isStuck: false });
  assertEquals(found[999], { index: 0, ms: 999_000, isStuck: false });

  const limited = new Bench({ queues, limits: { streamMs: 5000, requestMs: 8000 } });
  limited.owe(0);
  const last = (await limited.checks(9)).slice(-2) as { isStuck: boolean }[];
  assertEquals(last.map((still) => still?.isStuck), [false, true]);
});

Deno.test("the ring Worker is not asked while chains come back from each queue that has some", async () => {
  const bench = new Bench();
  for (const queue of [EVENT, TX]) bench.owe(queue);
  for (let i = 0; i < 20; i++) {
    bench.complete(TX);
    assertEquals([await bench.check(), bench.isArmed], [null, true]);
  }
  assertEquals(bench.asked, 0);
});

Deno.test("when nothing is due it disarms, once the ring Worker has answered", async () => {
  const bench = new Bench();
  assert(bench.isArmed);
  bench.owe(RX, "settled"); // of a stream that does not run
  bench.complete(TX);
  assertEquals([await bench.checks(2), bench.asked], [[null, "idle"], 1]);
  assert(!bench.isArmed);
});

Deno.test("it stays armed when the ring Worker finds a chain that shared memory did not show yet", async () => {
  const bench = new Bench();
  bench.answers[CONTROL] = "due";
  assertEquals([await bench.check(), bench.isArmed], [null, true]);
  bench.answers[CONTROL] = "settled";
  assertEquals(await bench.check(), "idle");
});

Deno.test("a kick that comes before or after the ring Worker looks is not lost", async () => {
  // Each kick is either found by the ring Worker, or reported since it finds the watchdog disarmed.
  const bench = new Bench();
  const reports: boolean[] = [];
  bench.whileAsked = () => void reports.push(arm(bench.arming));
  assertEquals([await bench.check(), reports], ["idle", [true]]);
  assert(bench.isArmed);
  bench.whileAsked = () => {};
  assertEquals(await bench.check(), "idle");
  assert(!bench.isArmed);
});

Deno.test("direct queues: the ring Worker alone sees their chains", async () => {
  const bench = new Bench({ isDirect: true });
  bench.answers[TX] = "moving";
  assertEquals([await bench.checks(20), bench.asked], [Array(20).fill(null), 20]);
  bench.answers[TX] = "due";
  const found = await bench.checks(CHECKS);
  assertEquals(found.at(-1), { index: TX, ms: 5000, isStuck: true });
  bench.answers[TX] = "settled";
  assertEquals([await bench.check(), bench.isArmed], ["idle", false]);
});

Deno.test("queues that the driver has not set up do not count", async () => {
  const bench = new Bench({ present: [CONTROL, TX], isDirect: true });
  bench.answers[RX] = "due";
  assertEquals(await bench.check(), "idle");
});

Deno.test("a watchdog is armed once, by whoever comes first", () => {
  const arming = createArming();
  assertEquals([arm(arming), arm(arming)], [true, false]);
  disarm(arming);
  assertEquals([arm(arming), arm(arming)], [true, false]);
});

Deno.test("it is checked five times in the shorter limit", () => {
  assertEquals(checkMsOf(LIMITS), 1000);
  assertEquals(checkMsOf({ streamMs: 5000, requestMs: 200 }), 40);
});
