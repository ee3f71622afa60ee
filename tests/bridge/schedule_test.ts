// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { Schedule, type Scheduled } from "../../lib/bridge/schedule.ts";

class Member implements Scheduled {
  ready = true;
  constructor(readonly name: string, readonly priority: number) {}
}

function scheduleOf(...members: [name: string, priority: number][]) {
  const schedule = new Schedule<Member>();
  const byName: Record<string, Member> = {};
  for (const [name, priority] of members) {
    schedule.add(byName[name] = new Member(name, priority));
  }
  const turns = (count: number) =>
    Array.from({ length: count }, () => schedule.next()?.name ?? "-").join("");
  return { schedule, byName, turns };
}

Deno.test("no turn when there is no device, or none is ready", () => {
  const { schedule, byName, turns } = scheduleOf(["a", 0]);
  byName["a"]!.ready = false;
  assertEquals(turns(2), "--");
  schedule.remove(byName["a"]!);
  schedule.remove(byName["a"]!);
  assertEquals(turns(1), "-");
});

Deno.test("equals have their turns one after the other", () => {
  const { turns } = scheduleOf(["a", 1], ["b", 1], ["c", 1]);
  assertEquals(turns(7), "abcabca");
});

Deno.test("the more urgent go first for as long as they are ready, and keep the others' order", () => {
  const { byName, turns } = scheduleOf(["low1", -5], ["a", 1], ["low2", -5], ["b", 1]);
  assertEquals(turns(4), "abab");
  byName["a"]!.ready = byName["b"]!.ready = false;
  assertEquals(turns(3), "low1low2low1");
  byName["b"]!.ready = true;
  assertEquals(turns(2), "bb");
  byName["b"]!.ready = false;
  assertEquals(turns(1), "low2");
});

Deno.test("one that is not ready is passed over and has its turn no later for it", () => {
  const { byName, turns } = scheduleOf(["a", 0], ["b", 0], ["c", 0]);
  byName["a"]!.ready = false;
  assertEquals(turns(2), "bc");
  byName["a"]!.ready = true;
  assertEquals(turns(3), "abc");
});

Deno.test("members come and go between turns", () => {
  const { schedule, byName, turns } = scheduleOf(["a", 0], ["b", 0]);
  assertEquals(turns(1), "a");
  schedule.add(new Member("z", 9));
  schedule.add(new Member("c", 0));
  assertEquals(schedule.members.map(({ name }) => name).join(""), "zbac");
  schedule.remove(schedule.members[0]!);
  schedule.remove(byName["b"]!);
  assertEquals(turns(3), "aca");
});

Deno.test("none of equal priority starves, whichever is ready when", () => {
  const names = ["a", "b", "c", "d", "e"];
  const { byName, turns } = scheduleOf(...names.map((name): [string, number] => [name, 0]));
  byName["e"]!.ready = false;
  turns(3);
  byName["e"]!.ready = true;
  for (let round = 0; round < 10; round++) {
    assertEquals([...turns(5)].sort().join(""), "abcde");
  }
});
