// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { Card, noise, PARAMS } from "./card.ts";
import {
  ids,
  PERIOD,
  query,
  S_BAD_MSG,
  S_IO_ERR,
  S_OK,
  samplesOf,
  statuses,
  withFolder,
} from "./device_fixture.ts";

// ---- a driver that lies ----

Deno.test("malformed buffers are returned at once with BAD_MSG, and the stream keeps running", () => {
  using card = new Card({ sinks: ["null"], sources: ["silence"] });
  const early = card.play(noise(PERIOD));
  assertEquals(card.done().map(({ id, status }) => [id, status]), [[early, S_BAD_MSG]]);
  card.prepare();
  card.prepare({ streamId: 1 });
  const bad = [
    card.play(noise(PERIOD), 1),
    card.play(noise(PERIOD), 2),
    card.play(noise(PERIOD), 0xffffffff),
    card.play(noise(0)),
    card.play(noise(PERIOD + 1)),
    card.play(noise(3)),
    card.play(noise(PARAMS.bufferBytes + 4)),
    card.capture(PERIOD, 0),
    card.capture(PERIOD, 7),
    card.capture(0, 1),
    card.capture(3, 1),
    card.capture(PARAMS.bufferBytes + 4, 1),
  ];
  const done = card.done();
  assertEquals(ids(done), bad);
  assertEquals(statuses(done), bad.map(() => S_BAD_MSG));
  assertEquals(done.map(({ length }) => length), bad.map(() => 8));
  const good = card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(10);
  assertEquals(ids(card.done()), [good]);
});

Deno.test("buffers without a header or without room for a status are returned and reported", () => {
  using card = new Card({ sinks: ["null"] });
  const { wiring } = card;
  wiring.offer(snd.VQ_TX, 1, [Uint8Array.of(0, 0, 0)], [8]);
  wiring.offer(snd.VQ_TX, 2, [new Uint8Array(8)], [7]);
  wiring.offer(snd.VQ_TX, 3, [new Uint8Array(8)], []);
  const queue = wiring.queues[snd.VQ_TX]!;
  assertEquals([1, 2, 3].map(() => queue.take()), [
    { token: 1, length: 8 },
    { token: 2, length: 0 },
    { token: 3, length: 0 },
  ]);
  assertEquals(card.reported("error").length, 2);
});

Deno.test("a malformed ring is not served; the others are", () => {
  using card = new Card({ sinks: ["null"], sources: ["silence"] });
  card.prepare();
  card.prepare({ streamId: 1 });
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.control(snd.R_PCM_START, 1);
  const tx = card.wiring.rings[snd.VQ_TX]!;
  // The available ring's idx: ahead of all that could be.
  new DataView(card.wiring.buffer).setUint16(2 * 0x4000 + 64 * 16 + 2, 12345, true);
  card.device.turn();
  assert(tx.failure!.message.includes("queue 2 of sound"), tx.failure!.message);
  card.clock.pass(100);
  card.capture(PERIOD, 1);
  card.clock.pass(100);
  assertEquals(card.done().length, 1);
  assertEquals(card.control(snd.R_PCM_STOP, 0), S_OK);
  assertEquals(card.control(snd.R_PCM_RELEASE, 0), S_OK);
});

Deno.test("a malformed event queue, or one without room, loses only events", () => {
  for (const lie of [true, false]) {
    using card = new Card({ sinks: ["null"] });
    if (lie) new DataView(card.wiring.buffer).setUint16(1 * 0x4000 + 64 * 16 + 2, 12345, true);
    else card.wiring.offer(snd.VQ_EVENT, 1, [], [7]);
    card.setJack(0, false);
    assertEquals(card.wiring.rings[snd.VQ_EVENT]!.failure !== null, lie);
    assertEquals(card.reported("error").length, lie ? 0 : 1);
    card.prepare();
    card.play(noise(PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(50);
    assertEquals(statuses(card.done()), [S_OK]);
    assertEquals(card.reported("xrun").length, 1);
  }
});

Deno.test("a driver that floods gets as much of a turn as its ring has room for", () => {
  using card = new Card({ sinks: ["null"] }, { ringSize: 8 });
  card.wiring.rings[snd.VQ_TX]!.onKick = () => {};
  for (let i = 0; i < 8; i++) card.wiring.offer(snd.VQ_TX, i, [Uint8Array.of(1)], [8]);
  card.device.turn();
  assertEquals(card.clock.alarm, 0);
  card.clock.pass(0);
  assertEquals(card.clock.alarm, Infinity);
});

// ---- rings stop, front-ends go ----

Deno.test("stopRing() returns the buffers, and a later start continues", () => {
  using card = new Card({ sinks: ["null"], sources: ["silence"] });
  card.prepare();
  card.prepare({ streamId: 1 });
  const held = [card.play(noise(PERIOD)), card.play(noise(PERIOD))];
  const other = card.capture(PERIOD, 1);
  card.device.stopRing(snd.VQ_TX, false);
  assertEquals(card.done().map(({ id, status }) => [id, status]), held.map((id) => [id, S_IO_ERR]));
  card.control(snd.R_PCM_START, 0);
  card.control(snd.R_PCM_START, 1);
  card.clock.pass(50);
  assertEquals(ids(card.done()), [other]);
  card.device.startRing(card.wiring.rings[snd.VQ_TX]!);
  const next = card.play(noise(PERIOD));
  card.clock.pass(10);
  assertEquals(ids(card.done()), [next]);
});

Deno.test("stopRing() of an abandoned ring completes nothing: the next device plays what is in it", () => {
  using card = new Card({ sinks: ["null"] });
  card.prepare();
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.device.stopRing(snd.VQ_TX, true);
  card.clock.pass(100);
  assertEquals(card.done(), []);
});

Deno.test("disconnected(): files are closed and valid, streams idle, the next front-end starts afresh", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`] });
    const sound = noise(2 * PERIOD);
    card.prepare();
    card.play(sound.subarray(0, PERIOD));
    card.play(sound.subarray(PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(15);
    for (const { index } of card.wiring.rings) card.device.stopRing(index, false);
    card.device.disconnected();
    assertEquals(card.reported("state").at(-1)!.state, "idle");
    assertEquals(samplesOf(path), sound.subarray(0, PERIOD));
    assertEquals(card.clock.alarm, Infinity);
    card.wiring.start();
    assertEquals(card.control(snd.R_PCM_PREPARE, 0), S_BAD_MSG);
    card.prepare();
  });
});

Deno.test("a jack is plugged in and out: an event, and what the next query says", () => {
  using card = new Card();
  card.offerEvents(2);
  card.setJack(1, false);
  card.setJack(1, false);
  assertEquals(card.takeEvents(), [[snd.EVT_JACK_DISCONNECTED, 1]]);
  const answer = card.request(query(snd.R_JACK_INFO, 1, 1, snd.JACK_INFO_SIZE));
  assertEquals(snd.decodeJackInfo(new DataView(answer.buffer), 4).connected, false);
  card.setJack(1, true);
  assertEquals(card.takeEvents(), [[snd.EVT_JACK_CONNECTED, 1]]);
  assertThrows(() => card.setJack(2, true), RangeError, "Cannot plug jack 2");
  using silent = new Card({}, { started: false });
  silent.setJack(0, false);
});

Deno.test("chaos: random requests and buffers never break the card, and every buffer is returned once", () => {
  for (let seed = 1; seed <= 20; seed++) {
    let state = seed;
    const random = (below: number): number => {
      state = Math.imul(state, 1103515245) + 12345 | 0;
      return (state >>> 8) % below;
    };
    using card = new Card({ sinks: ["null", "null"], sources: ["silence"] });
    const open = new Set<number>();
    const settle = (): void => {
      for (const { id, status } of card.done()) {
        assert(open.delete(id), `buffer ${id} came back twice`);
        assert(status === S_OK || status === S_BAD_MSG, snd.soundCodeName(status));
      }
    };
    for (let step = 0; step < 2000; step++) {
      const stream = random(4);
      const what = random(8);
      if (what === 0) card.setParams({ streamId: stream, rate: random(16), format: random(8) });
      else if (what <= 2) card.control(0x102 + random(4), stream);
      else if (what === 3) card.clock.pass(random(30));
      else if (what === 4) card.clock.sleep(random(100));
      else if (open.size < 60) {
        open.add(
          random(3) === 0
            ? card.capture(4 * random(600), stream)
            : card.play(noise(4 * random(600)), stream),
        );
      }
      settle();
    }
    for (let stream = 0; stream < 3; stream++) {
      card.control(snd.R_PCM_STOP, stream);
      card.control(snd.R_PCM_RELEASE, stream);
    }
    settle();
    assertEquals(open.size, 0);
    assertEquals(card.wiring.rings.map(({ failure }) => failure), [null, null, null, null]);
    assertEquals(card.clock.alarm, Infinity);
  }
});
