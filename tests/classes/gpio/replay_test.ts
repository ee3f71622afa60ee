// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { replay } from "../../../lib/classes/gpio/replay.ts";
import * as wire from "../../../lib/classes/gpio/wire.ts";
import { GpioBench } from "./bench.ts";

const { MSG_IRQ_TYPE: IRQ, MSG_SET_DIRECTION: DIRECTION, MSG_SET_VALUE: VALUE } = wire;

type Request = [type: number, gpio: number, value: number];

function create() {
  const one = replay.create(new Uint8Array(replay.stateBytes));
  const view = ([type, gpio, value]: Request) =>
    new DataView(wire.encodeRequest({ type, gpio, value }).buffer);
  return {
    one,
    observe: (...request: Request) => one.observe(view(request), wire.REQUEST_SIZE),
    refused: (...request: Request) => one.refused!(view(request), wire.REQUEST_SIZE),
    before: () =>
      one.before().map((bytes): Request => {
        const { type, gpio, value } = wire.decodeRequest(new DataView(bytes.buffer));
        return [type, gpio, value];
      }),
  };
}

Deno.test("gpio: each line's value, direction and interrupt are repeated, in this order", () => {
  const { observe, before, one } = create();
  observe(DIRECTION, 5, wire.DIRECTION_IN);
  observe(IRQ, 5, wire.IRQ_TYPE_LEVEL_LOW);
  observe(VALUE, 1023, 1);
  observe(DIRECTION, 1023, wire.DIRECTION_OUT);
  observe(VALUE, 1023, 0);
  observe(VALUE, 2, 1);
  assertEquals(before(), [
    [VALUE, 2, 1],
    [DIRECTION, 5, wire.DIRECTION_IN],
    [IRQ, 5, wire.IRQ_TYPE_LEVEL_LOW],
    [VALUE, 1023, 0],
    [DIRECTION, 1023, wire.DIRECTION_OUT],
  ]);
  assertEquals([one.after(), one.isClean!()], [[], false]);
});

Deno.test("gpio: what was undone is not repeated", () => {
  const { observe, before, one } = create();
  observe(IRQ, 0, wire.IRQ_TYPE_EDGE_BOTH);
  observe(IRQ, 0, wire.IRQ_TYPE_NONE);
  observe(VALUE, 1, 1);
  observe(DIRECTION, 1, wire.DIRECTION_OUT);
  observe(DIRECTION, 1, wire.DIRECTION_NONE);
  assertEquals([before(), one.isClean!()], [[], true]);
});

Deno.test("gpio: requests that set nothing are not remembered, nor lines beyond what there is room for", () => {
  const { observe, before, one } = create();
  observe(wire.MSG_GET_NAMES, 0, 1);
  observe(wire.MSG_GET_DIRECTION, 0, 1);
  observe(wire.MSG_GET_VALUE, 0, 1);
  observe(VALUE, 1024, 1);
  observe(DIRECTION, 0xffff, 1);
  observe(VALUE, 0, 2);
  observe(DIRECTION, 0, 3);
  observe(IRQ, 0, 9);
  one.observe(new DataView(Uint8Array.of(DIRECTION, 0, 0, 0, 1).buffer), 5);
  assertEquals(before(), []);
});

Deno.test("gpio: an interrupt that is enabled already is, though a back-end refuses it", () => {
  const { observe, refused } = create();
  const done = Uint8Array.of(0, 0);
  assertEquals(refused(IRQ, 3, wire.IRQ_TYPE_EDGE_RISING), null);
  assertEquals(refused(IRQ, 3, wire.IRQ_TYPE_NONE), done);
  observe(IRQ, 3, wire.IRQ_TYPE_EDGE_RISING);
  assertEquals(refused(IRQ, 3, wire.IRQ_TYPE_EDGE_RISING), done);
  assertEquals(refused(IRQ, 3, wire.IRQ_TYPE_EDGE_BOTH), null);
  assertEquals(refused(DIRECTION, 3, wire.DIRECTION_OUT), null);
});

Deno.test("gpio: after the replay a new device has the lines and interrupts of the old one", () => {
  const { observe, one } = create();
  using old = new GpioBench({ lines: 4 });
  const both = (type: number, line: number, value: number): void => {
    old.do(type, line, value);
    observe(type, line, value);
  };
  both(VALUE, 0, 1);
  both(DIRECTION, 0, wire.DIRECTION_OUT);
  both(DIRECTION, 1, wire.DIRECTION_IN);
  both(IRQ, 1, wire.IRQ_TYPE_EDGE_RISING);
  both(VALUE, 2, 1);
  using next = new GpioBench({ lines: 4 });
  for (const message of one.before()) assertEquals(next.send(message), [wire.STATUS_OK, 0]);
  assertEquals(next.lines, old.lines);
  next.unmask(1); // the buffer that was in flight
  assertEquals(next.events(), []);
  next.drive(1, 1);
  assertEquals(next.events(), [[1, wire.IRQ_STATUS_VALID]]);
  next.do(DIRECTION, 2, wire.DIRECTION_OUT);
  assertEquals(next.lines[2]!.value, 1);
});

Deno.test("gpio: the first byte of a response says whether a request was done", () => {
  const isOk = (status: number) => replay.isOk(new DataView(Uint8Array.of(status, 0).buffer));
  assertEquals([0, 1, 255].map(isOk), [true, false, false]);
});
