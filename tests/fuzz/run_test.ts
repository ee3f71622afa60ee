// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { fuzz, FuzzFailure, tallyText } from "./run.ts";
import { target, withNothingLeft } from "./target.ts";
import { EventFd } from "../../ffi/mod.ts";
import { TARGETS } from "./targets/mod.ts";

/** Fails for lists with a number above 50. */
const FAULTY = target("faulty", fc.array(fc.nat()), (list) => {
  if (list.some((n) => n > 50)) throw new Error(`cannot take ${list}`);
  return "accepted";
});

Deno.test("a failure tells the target, the smallest input and a seed that finds it at once", async () => {
  const failure = await assertRejects(() => fuzz([FAULTY], 7, 1000), FuzzFailure);
  assert(failure.message.includes("smallest input: [51]"), failure.message);
  assert(failure.message.includes("cannot take 51"), failure.message);
  const again = await assertRejects(() => fuzz([FAULTY], failure.seed, 0), FuzzFailure);
  assertEquals([again.target, again.seed], ["faulty", failure.seed]);
});

Deno.test("one seed draws the same inputs each time, another draws others", async () => {
  const draw = async (seed: number): Promise<string> => {
    const drawn: number[] = [];
    const all = target("all", fc.nat(), (n) => drawn.push(n) > 0 ? "accepted" : "refused");
    await fuzz([all], seed, 0);
    return drawn.join(" ");
  };
  const first = await draw(7);
  assertEquals(await draw(7), first);
  assert(await draw(8) !== first);
});

Deno.test("the results of the inputs are counted by target", async () => {
  const even = target("even", fc.nat(), (n) => n % 2 === 0 ? "accepted" : "refused");
  const none = target("none", fc.nat(), () => "refused");
  const [first, second] = await fuzz([even, none], 7, 0);
  assert(first!.accepted > 0 && first!.refused > 0);
  assertEquals([first!.accepted + first!.refused, second!.accepted, second!.refused], [
    100,
    0,
    100,
  ]);
  const counts = `${first!.refused} refused, ${first!.accepted} accepted`;
  assertEquals(
    tallyText([first!, second!]),
    `even  100 inputs, ${counts}\nnone  100 inputs, 100 refused, 0 accepted`,
  );
});

Deno.test("a descriptor that is left each time is found, one that is made once is not", async () => {
  using kept = new DisposableStack();
  const leak = (): EventFd => kept.use(EventFd.create());
  await assertRejects(() => withNothingLeft(leak), Error, "descriptors and mappings to be gone");
  let made: EventFd | null = null;
  await withNothingLeft(() => made ??= leak());
});

Deno.test("each target has a name of its own", () => {
  const names = TARGETS.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
});
