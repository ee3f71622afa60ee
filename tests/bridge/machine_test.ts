// SPDX-License-Identifier: Apache-2.0
// A bridged device's state machine, without a device: every state that can be reached, every event that may come there.
import { assert, assertEquals } from "@std/assert";
import type { Event, Rules } from "../../lib/bridge/states.ts";
import { type Draws, seeded } from "../support/random.ts";
import { after, createWorld, goOn, isOver, nameOf, phaseOf, possible } from "./machine_world.ts";
import type { World } from "./machine_world.ts";

/** What a device may be, and what does not happen to it: all at once would be too many worlds. */
interface Variant {
  rules: Partial<Rules>;
  lives?: number;
  never: RegExp;
}

const VARIANTS: Variant[] = [
  { rules: {}, never: /config|rare|late|other|refused|check|driver error old/ },
  { rules: {}, never: /config|rare|late|lost|error|lane failed|close|timer held/ },
  { rules: { memory: "direct" }, never: /config|rare|late|other|refused|timer held|bad/ },
  { rules: { ownFeatures: 1n }, never: /config|check|lane failed|error|close|timer held/ },
  { rules: { isKept: true }, never: /config|rare|late|other|error|lane failed/ },
  { rules: { isKept: true }, never: /config|rare|late|lost|error|close|check/ },
  { rules: { memory: "direct", isKept: true }, never: /config|rare|late|lost|check/ },
  { rules: { memory: "direct" }, lives: 1, never: /config|rare|late|lost|error|lane failed|check/ },
  {
    rules: { config: "forwarded", memory: "direct" },
    never: /rare|late|lost|error|lane failed|timer held|check/,
  },
  {
    rules: { config: "forwarded", isKept: true },
    never: /rare|late|lost|error|failed|check|replay|config changed/,
  },
];

/** A world's key: worlds of one key do the same from here on. */
function keyOf(w: World): string {
  const { phase, job, device, driver, held, config, isConnected, backEnd, loss, end, history } =
    w.state;
  const current = "epoch" in phase ? phase.epoch === driver.epoch : null;
  const parts = [
    { ...phase, epoch: current },
    job,
    device !== null,
    { ...driver, epoch: 0, features: Number(driver.features) },
    held,
    [config.writes.length > 0, config.sent.length > 0, config.written.length > 0, config.isStale],
    [isConnected, Number(backEnd?.features ?? 0n)],
    loss?.fault,
    end === null ? "" : end === "close" ? end : "problem",
    history.replyMs > w.state.rules.replyMs,
    [w.owed, w.held, w.isReady, w.hasFrontEnd, w.hasSession, w.isIdle, w.isKicked],
    w.timers.toSorted(),
    w.epoch === driver.epoch,
  ];
  return JSON.stringify(parts);
}

/** An event's name, and what tells it from others of that name. */
function detailOf(event: Event): string {
  if (event.on === "driver") return event.driver.features > 1n ? "driver rare" : "driver";
  return event.on === "failed" ? `${nameOf(event)} ${event.problem.fault}` : nameOf(event);
}

/** Every world that can be reached. @param see Told of each step */
function explore(
  { rules, lives, never }: Variant,
  see: (before: World, event: Event, now: World) => void = () => {},
): World[] {
  const first = createWorld(rules, lives);
  const seen = new Set([keyOf(first)]);
  const worlds = [first];
  const ways = new Map<World, [World, Event]>();
  for (const w of worlds) {
    if (isOver(w)) continue;
    for (const event of possible(w)) {
      if (never.test(detailOf(event))) continue;
      const now = attempt(w, event, ways);
      see(w, event, now);
      const key = keyOf(now);
      if (seen.has(key)) continue;
      seen.add(key);
      ways.set(now, [w, event]);
      worlds.push(now);
    }
  }
  return worlds;
}

/** An error names the shortest way to where it is. */
function attempt(w: World, event: Event, ways: Map<World, [World, Event]>): World {
  try {
    return after(w, event);
  } catch (error) {
    const names = [nameOf(event)];
    for (let way = ways.get(w); way !== undefined; way = ways.get(way[0])) {
      names.unshift(nameOf(way[1]));
    }
    (error as Error).message += ` after: ${names.join(", ")}`;
    throw error;
  }
}

/** The table in the machine's doc: "phase | event" to where that may lead. */
async function documented(): Promise<Map<string, string>> {
  const text = await Deno.readTextFile(new URL("../../lib/bridge/machine.ts", import.meta.url));
  const [head, ...rows] = text.matchAll(/^ \* \| ([a-z ]+) \| ([a-z -]+) \| ([a-z, ]+) \|$/gm);
  assertEquals(head?.slice(1), ["phase", "event", "leads to"]);
  return new Map(rows.map(([, from, event, to]) => [`${from} | ${event}`, to!]));
}

Deno.test("the documented table of transitions is exactly what the machine does", async () => {
  const found = new Map<string, Set<string>>();
  for (const variant of VARIANTS) {
    explore(variant, (before, event, now) => {
      const [from, to] = [phaseOf(before), phaseOf(now)];
      if (from === to) return;
      const key = `${from} | ${nameOf(event)}`;
      found.set(key, (found.get(key) ?? new Set()).add(to));
    });
  }
  const rows = found.entries().map(([key, to]) => [key, [...to].toSorted().join(", ")]);
  assertEquals(Object.fromEntries(await documented()), Object.fromEntries(rows));
});

/** Whether a back-end serves the driver. */
function isServed(w: World): boolean {
  return phaseOf(w) === "running" && w.held === null;
}

/** Asserts that each world has a way on: to a driver that is served, and to the end. */
function assertWayOn(w: World): void {
  if (isOver(w)) return;
  if (w.state.end === null) goOn(w, isServed);
  goOn(after(w, { on: "close" }), isOver);
}

Deno.test("from every reachable state the machine can still serve, and end", () => {
  for (const variant of VARIANTS) {
    const worlds = explore(variant);
    // As many as two seconds are enough for, spread over all.
    const stride = Math.ceil(worlds.length / 1000);
    for (let i = 0; i < worlds.length; i += stride) assertWayOn(worlds[i]!);
  }
});

/** Events as they come, of all kinds, to one device. */
function walk(draws: Draws, steps: number): void {
  const rules: Partial<Rules> = {
    memory: draws.integer(2) === 0 ? "isolated" : "direct",
    config: draws.integer(2) === 0 ? "cached" : "forwarded",
    isKept: draws.integer(2) === 0,
  };
  let w = createWorld(rules, draws.integer(2) === 0 ? Infinity : 1);
  const names: string[] = [];
  try {
    for (let i = 0; i < steps && !isOver(w); i++) {
      const isEnding = draws.integer(50) === 0;
      const events = possible(w).filter(({ on }) =>
        isEnding || (on !== "close" && on !== "lane failed")
      );
      const event = events[draws.integer(events.length)]!;
      names.push(nameOf(event));
      w = after(w, event);
    }
    assertWayOn(w);
  } catch (error) {
    (error as Error).message += ` after: ${names.join(", ")}`;
    throw error;
  }
}

Deno.test("after any events in any order the machine can still serve and end", () => {
  const draws = seeded();
  for (let i = 0; i < 300; i++) walk(draws, 200);
});

Deno.test("bad accesses and refused replays are reported, and change nothing", () => {
  const w = goOn(createWorld(), isServed);
  for (const on of ["bad access", "replay refused"] as const) {
    const now = after(w, { on, text: "this" });
    assertEquals(now.actions, [{ do: "report", kind: "error", text: "this" }]);
    assertEquals(now.state, w.state);
  }
  assert(isServed(w));
});
