// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { Change } from "../../lib/bridge/change.ts";

Deno.test("Change: what holds already is not waited for", async () => {
  const change = new Change();
  assertEquals(await change.until(() => true), true);
  assertEquals(await change.until(() => true, 0), true);
});

Deno.test("Change: all that wait look for themselves, at each change", async () => {
  const change = new Change();
  let value = 0;
  const done: number[] = [];
  const waits = [3, 1, 2].map((wanted) =>
    change.until(() => value >= wanted).then((held) => {
      assert(held);
      done.push(wanted);
    })
  );
  for (; value < 3; value++) {
    change.notify();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(done.length, value);
  }
  change.notify();
  await Promise.all(waits);
  assertEquals(done, [1, 2, 3]);
});

Deno.test("Change: a wait that is over leaves no timer, and nothing that waits", async () => {
  const change = new Change();
  let looks = 0;
  assertEquals(await change.until(() => (looks++, false), 5), false);
  const before = looks;
  change.notify();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(looks, before);
  // The op sanitizer fails this test if the hour's timer outlives it.
  let held = false;
  const waiting = change.until(() => held, 3600_000);
  held = true;
  change.notify();
  assertEquals(await waiting, true);
});

Deno.test("Change: changes that change nothing do not put off the end of a wait", async () => {
  const change = new Change();
  const timer = setInterval(() => change.notify(), 1);
  assertEquals(await change.until(() => false, 20), false);
  clearInterval(timer);
});

Deno.test("Change: one who waits again while woken is woken by the next change only", async () => {
  const change = new Change();
  let value = 0;
  const chain = (async () => {
    await change.until(() => value === 1);
    await change.until(() => value === 2);
    return value;
  })();
  value = 1;
  change.notify();
  await new Promise((resolve) => setTimeout(resolve, 0));
  value = 2;
  change.notify();
  assertEquals(await chain, 2);
});
