// SPDX-License-Identifier: Apache-2.0
// What a back-end finds in its rings when it goes live, and in which order.
import { assertEquals } from "@std/assert";
import { PeerSignal } from "../../ffi/mod.ts";
import { loadReplay } from "../../lib/bridge/replay.ts";
import { LaneRings } from "../../lib/bridge/rings.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { RingsBench } from "./rings_fixture.ts";

const [REQUEST, EVENT] = [0, 1] as const;
/** Chains that are moved in one turn. */
const BATCH = 16;

/** A device with requests and event buffers, to which a back-end comes that has no replay. @returns how many turns followed, of which the last finds nothing to do */
async function goLive(
  requests: number,
  events: number,
  atOnce: (bench: RingsBench) => void,
): Promise<{ turns: number; offered: number[]; reported: string[] }> {
  const reported: string[] = [];
  let turns = 0;
  let offered: number[] = [];
  const replay = await loadReplay(null);
  await withoutLeaks(async () => {
    using bench = new RingsBench(1, 0, ["request", "event"]);
    using signal = PeerSignal.create();
    const rings = new LaneRings(bench.device, replay, signal, ({ on }) => reported.push(on));
    bench.ask(requests, REQUEST);
    bench.ask(events, EVENT);
    rings.attach(bench.activation);
    rings.replay();
    atOnce(bench);
    for (; rings.ready; turns++) rings.serve();
    offered = [bench.offered(REQUEST), bench.offered(EVENT)];
    rings.close();
    await Promise.resolve();
  });
  return { turns, offered, reported };
}

Deno.test("a back-end that goes live has event buffers before it has a request", async () => {
  const { turns, offered, reported } = await goLive(2, 3, (bench) => {
    assertEquals([bench.offered(REQUEST), bench.offered(EVENT)], [0, 3]);
  });
  assertEquals({ turns, offered, reported }, { turns: 2, offered: [2, 3], reported: ["live"] });
});

Deno.test("of many event buffers the first ones are offered at once, the rest in their turn", async () => {
  const { turns, offered } = await goLive(1, BATCH + 4, (bench) => {
    assertEquals([bench.offered(REQUEST), bench.offered(EVENT)], [0, BATCH]);
  });
  assertEquals({ turns, offered }, { turns: 3, offered: [1, BATCH + 4] });
});
