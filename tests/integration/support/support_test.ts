// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BlockingWorker, createMemory, EventFd, Mapping } from "../../../ffi/mod.ts";
import type { FixtureContract } from "../../ffi/worker_fixture.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { Process, run, TempFolder, until } from "../../support/process.ts";
import { interleaved, median, percentile, summarise } from "../../support/statistics.ts";

const FIXTURE = new URL("../../ffi/worker_fixture.ts", import.meta.url);

Deno.test("withoutLeaks() accepts code that cleans up", async () => {
  await withoutLeaks(async () => {
    using ring = EventFd.create();
    using answer = EventFd.create();
    using memory = createMemory("viola-test", 4096);
    using _mapping = Mapping.create(memory, 4096);
    const init = { ring: ring.number, answer: answer.number };
    await using _worker = await BlockingWorker.start<FixtureContract>(FIXTURE, {
      name: "fixture",
      init,
    });
    await using process = Process.start("sleep", ["60"]);
    assert(process.pid > 0);
  });
});

Deno.test("withoutLeaks() reports what was left open", async (t) => {
  const kept: { close(): void }[] = [];
  const table: [string, () => { close(): void }, RegExp][] = [
    ["an eventfd", () => EventFd.create(), /1 × descriptor anon_inode:\[eventfd\]/],
    ["a memfd", () => createMemory("viola-test", 4096), /1 × descriptor \/memfd:viola-test/],
    ["a mapping", () => {
      using memory = createMemory("viola-test", 4096);
      return Mapping.create(memory, 4096);
    }, /1 × mapping \/memfd:viola-test/],
    ["a child", () => {
      const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
      children.push(child);
      return { close: () => child.kill() };
    }, /1 × child sleep/],
  ];
  const children: Deno.ChildProcess[] = [];
  for (const [what, make, message] of table) {
    await t.step(what, async () => {
      const error = await assertRejects(
        () => withoutLeaks(() => void kept.push(make()), 50),
        Error,
      );
      for (const thing of kept.splice(0)) thing.close();
      for (const child of children) await child.status;
      assert(message.test(error.message), error.message);
    });
  }
});

Deno.test("Process keeps what it printed, and its end", async () => {
  await using process = Process.start("sh", ["-c", "echo out; echo err >&2; exit 3"]);
  assertEquals((await process.end()).code, 3);
  assertEquals([process.stdout, process.stderr], ["out\n", "err\n"]);
  const error = await assertRejects(() => run("sh", ["-c", "echo why >&2; exit 1"]), Error);
  assert(error.message.includes("status 1\nwhy"), error.message);
});

Deno.test("Process.until() fails as soon as the process has ended", async () => {
  await using process = Process.start("sh", ["-c", "echo gone"]);
  const error = await assertRejects(() => process.until(() => false, "nothing"), Error);
  assert(error.message.includes("gone"), error.message);
});

Deno.test("Process.stop() kills a process that ignores the signal", async () => {
  const script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done";
  await using process = Process.start("sh", ["-c", script]);
  await process.until(() => process.stdout.includes("deaf"), "the trap");
  assertEquals((await process.stop()).signal, "SIGKILL");
});

Deno.test("until() fails after its deadline", async () => {
  await assertRejects(() => until(() => false, "the end of time", 20), Error, "the end of time");
});

Deno.test("TempFolder is removed with its contents", async () => {
  let path: string;
  {
    await using folder = await TempFolder.create();
    path = folder.path;
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o700);
    Deno.writeTextFileSync(folder.file("a"), "a");
  }
  assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
});

Deno.test("percentile() and median()", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
  assertEquals(percentile([10, 20, 30, 40, 50], 0.99), 49.6);
  assertEquals([percentile([7], 0), percentile([7], 1)], [7, 7]);
  assertThrows(() => median([]), RangeError);
  assertThrows(() => percentile([1], 1.1), RangeError);
});

Deno.test("summarise() is not affected by one disturbed round", () => {
  const rounds = [[1, 2, 3], [100, 200, 300], [1, 2, 3]];
  assertEquals(summarise(rounds), { median: 2, p99: 2.98 });
});

Deno.test("interleaved() takes one of each per round", async () => {
  const order: string[] = [];
  const take = (name: string) => () => [order.push(name)];
  const taken = await interleaved(2, { a: take("a"), b: take("b") });
  assertEquals(order, ["a", "b", "a", "b"]);
  assertEquals(taken, { a: [[1], [3]], b: [[2], [4]] });
});
