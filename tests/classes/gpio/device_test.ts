// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { device as role } from "../../../lib/classes/gpio/device.ts";
import type { GpioSpec } from "../../../lib/classes/gpio/spec.ts";
import * as wire from "../../../lib/classes/gpio/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { GpioBench } from "./bench.ts";

const { DIRECTION_IN, DIRECTION_NONE, DIRECTION_OUT } = wire;
const { IRQ_TYPE_EDGE_BOTH, IRQ_TYPE_EDGE_FALLING, IRQ_TYPE_EDGE_RISING, IRQ_TYPE_NONE } = wire;
const { IRQ_TYPE_LEVEL_HIGH, IRQ_TYPE_LEVEL_LOW } = wire;
const { MSG_GET_DIRECTION, MSG_GET_NAMES, MSG_GET_VALUE } = wire;
const { MSG_IRQ_TYPE, MSG_SET_DIRECTION, MSG_SET_VALUE } = wire;
const { IRQ_STATUS_INVALID: INVALID, IRQ_STATUS_VALID: VALID } = wire;
const ERR = [wire.STATUS_ERR, 0];

/** An input with an interrupt that is enabled, and still masked. */
function irqBench(type: number): GpioBench {
  const bench = new GpioBench({ lines: 4 });
  bench.do(MSG_SET_DIRECTION, 1, DIRECTION_IN);
  bench.do(MSG_IRQ_TYPE, 1, type);
  return bench;
}

Deno.test("gpio: the config space says how many lines there are, and the size of their names", () => {
  using named = new GpioBench({ line: ["A", "Red LED"], lines: 3 });
  assertEquals([...named.bench.device.readConfig()], [3, 0, 0, 0, 11, 0, 0, 0]);
  using unnamed = new GpioBench({ lines: 0x102 });
  assertEquals([...unnamed.bench.device.readConfig()], [2, 1, 0, 0, 0, 0, 0, 0]);
  assertEquals(unnamed.ask(MSG_GET_NAMES, 0), ERR);
});

Deno.test("gpio: names are given whole, or not at all", () => {
  using bench = new GpioBench({ line: ["A", "Red LED"], lines: 3 });
  const request = wire.encodeRequest({ type: MSG_GET_NAMES, gpio: 0, value: 0 });
  const names = [...new TextEncoder().encode("A\0Red LED\0\0")];
  assertEquals(bench.send(request, 12), [wire.STATUS_OK, ...names]);
  assertEquals(bench.send(request, 100), [wire.STATUS_OK, ...names]);
  assertEquals(bench.send(request, 11), ERR);
});

Deno.test("gpio: an output drives what was set before it became one, and what is set then", () => {
  using bench = new GpioBench({ lines: 2 });
  assertEquals(bench.do(MSG_GET_DIRECTION, 0), DIRECTION_NONE);
  bench.do(MSG_SET_VALUE, 0, 1);
  assertEquals([bench.do(MSG_GET_VALUE, 0), bench.lines[0]!.value], [0, 0]);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_OUT);
  assertEquals(bench.lines[0], { line: 0, name: "", direction: "out", value: 1 });
  assertEquals([bench.do(MSG_GET_VALUE, 0), bench.do(MSG_GET_DIRECTION, 0)], [1, DIRECTION_OUT]);
  bench.do(MSG_SET_VALUE, 0, 0);
  assertEquals(bench.lines[0]!.value, 0);
  assertThrows(() => bench.drive(0, 1), Error, "Cannot drive line 0: it is an output");
});

Deno.test("gpio: an input has the level that is driven from outside", () => {
  using bench = new GpioBench({ line: ["BUTTON"] });
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_IN);
  for (const level of [1, 1, 0, 1] as const) {
    bench.drive(0, level);
    assertEquals(bench.do(MSG_GET_VALUE, 0), level);
  }
  assertEquals(bench.lines, [{ line: 0, name: "BUTTON", direction: "in", value: 1 }]);
  assertThrows(() => bench.drive(1, 1), Error, "Cannot drive line 1: there are 1");
});

Deno.test("gpio: a line that is given up forgets all that was set", () => {
  using bench = new GpioBench({ lines: 1 });
  bench.do(MSG_SET_VALUE, 0, 1);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_OUT);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_NONE);
  assertEquals(bench.do(MSG_GET_DIRECTION, 0), DIRECTION_NONE);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_OUT);
  assertEquals(bench.lines[0]!.value, 0);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_NONE);
  bench.do(MSG_IRQ_TYPE, 0, IRQ_TYPE_EDGE_BOTH);
  bench.unmask(0);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_NONE);
  assertEquals(bench.events(), [[0, INVALID]]);
  bench.drive(0, 1);
  bench.do(MSG_IRQ_TYPE, 0, IRQ_TYPE_EDGE_BOTH);
  bench.unmask(0);
  assertEquals(bench.events(), []);
});

Deno.test("gpio: an edge that comes while the interrupt is masked is latched, once", () => {
  for (
    const [type, edges] of [
      [IRQ_TYPE_EDGE_RISING, [1]],
      [IRQ_TYPE_EDGE_FALLING, [1, 0]],
      [IRQ_TYPE_EDGE_BOTH, [1, 0, 1, 0]],
    ] as const
  ) {
    using bench = irqBench(type);
    for (const level of edges) bench.drive(1, level);
    assertEquals(bench.events(), []);
    bench.unmask(1);
    assertEquals(bench.events(), [[1, VALID]]);
    bench.unmask(1);
    assertEquals(bench.events(), []);
  }
});

Deno.test("gpio: each edge that was asked for interrupts, and no other", () => {
  for (
    const [type, expected] of [
      [IRQ_TYPE_EDGE_RISING, [1, 0, 1, 0]],
      [IRQ_TYPE_EDGE_FALLING, [0, 1, 0, 1]],
      [IRQ_TYPE_EDGE_BOTH, [1, 1, 1, 1]],
    ] as const
  ) {
    using bench = irqBench(type);
    bench.unmask(1);
    const seen = ([1, 0, 1, 0] as const).map((level) => {
      bench.drive(1, level);
      const count = bench.events().length;
      if (count > 0) bench.unmask(1);
      return count;
    });
    assertEquals(seen, [...expected]);
  }
});

Deno.test("gpio: a level interrupts while it lasts, and is not latched", () => {
  for (const [type, active] of [[IRQ_TYPE_LEVEL_HIGH, 1], [IRQ_TYPE_LEVEL_LOW, 0]] as const) {
    const passive = active === 1 ? 0 : 1;
    using bench = new GpioBench({ lines: 4 });
    bench.drive(1, passive);
    bench.do(MSG_SET_DIRECTION, 1, DIRECTION_IN);
    bench.do(MSG_IRQ_TYPE, 1, type);
    bench.drive(1, active);
    bench.drive(1, passive);
    bench.unmask(1); // it is over
    assertEquals(bench.events(), []);
    bench.drive(1, active);
    assertEquals(bench.events(), [[1, VALID]]);
    bench.unmask(1); // it lasts
    assertEquals(bench.events(), [[1, VALID]]);
    bench.drive(1, passive);
    bench.unmask(1);
    assertEquals(bench.events(), []);
  }
});

Deno.test("gpio: a disabled interrupt gives its buffer back, and forgets what was latched", () => {
  using bench = irqBench(IRQ_TYPE_EDGE_BOTH);
  bench.unmask(1);
  bench.do(MSG_IRQ_TYPE, 1, IRQ_TYPE_NONE);
  assertEquals(bench.events(), [[1, INVALID]]);
  bench.do(MSG_IRQ_TYPE, 1, IRQ_TYPE_EDGE_BOTH);
  bench.drive(1, 1);
  bench.do(MSG_IRQ_TYPE, 1, IRQ_TYPE_NONE);
  bench.do(MSG_IRQ_TYPE, 1, IRQ_TYPE_EDGE_BOTH);
  bench.unmask(1);
  assertEquals(bench.events(), []);
});

Deno.test("gpio: a buffer for an interrupt that is not enabled comes back as invalid", () => {
  using bench = new GpioBench({ lines: 2 });
  bench.unmask(0);
  bench.unmask(7); // there is no such line
  bench.unmaskBytes(Uint8Array.of(0)); // half a request
  assertEquals(bench.events(), [[0, INVALID], [7, INVALID], [-1, INVALID]]);
  bench.drive(0, 1);
  assertEquals(bench.events(), []);
});

Deno.test("gpio: a second buffer for a line comes back as invalid, the first stays", () => {
  using bench = irqBench(IRQ_TYPE_EDGE_RISING);
  bench.unmask(1);
  bench.unmask(1);
  assertEquals(bench.events(), [[1, INVALID]]);
  bench.drive(1, 1);
  assertEquals(bench.events(), [[1, VALID]]);
});

Deno.test("gpio: requests that break a rule are refused, and change nothing", () => {
  using bench = irqBench(IRQ_TYPE_EDGE_RISING);
  const ask = (type: number, line: number, value = 0) => bench.ask(type, line, value);
  assertEquals(ask(MSG_GET_VALUE, 4), ERR); // there are 4
  assertEquals(ask(0, 0), ERR);
  assertEquals(ask(7, 0), ERR);
  assertEquals(ask(MSG_SET_VALUE, 0, 2), ERR);
  assertEquals(ask(MSG_SET_DIRECTION, 0, 3), ERR);
  for (const type of [5, 6, 7, 9, 0x8000_0001]) assertEquals(ask(MSG_IRQ_TYPE, 0, type), ERR);
  assertEquals(ask(MSG_IRQ_TYPE, 1, IRQ_TYPE_EDGE_BOTH), ERR); // enabled, of another type
  assertEquals(ask(MSG_IRQ_TYPE, 1, IRQ_TYPE_EDGE_RISING), [wire.STATUS_OK, 0]);
  assertEquals(ask(MSG_SET_DIRECTION, 1, DIRECTION_OUT), ERR); // it interrupts
  bench.do(MSG_SET_DIRECTION, 2, DIRECTION_OUT);
  assertEquals(ask(MSG_IRQ_TYPE, 2, IRQ_TYPE_EDGE_BOTH), ERR); // it is an output
  assertEquals(bench.send(new Uint8Array(7)), ERR);
  assertEquals([1, 2].map((line) => bench.do(MSG_GET_DIRECTION, line)), [2, 1]);
  bench.unmask(1);
  bench.drive(1, 1);
  assertEquals(bench.events(), [[1, VALID]]);
});

Deno.test("gpio: interrupts are refused to a driver that did not accept VIRTIO_GPIO_F_IRQ", () => {
  using bench = new GpioBench({ lines: 2 }, 0n);
  assertEquals(bench.ask(MSG_IRQ_TYPE, 0, IRQ_TYPE_EDGE_BOTH), ERR);
  assertEquals(bench.bench.device.features & bit(wire.F_IRQ), bit(wire.F_IRQ));
});

Deno.test("gpio: a response without room is refused, and told of", () => {
  using bench = new GpioBench();
  const request = wire.encodeRequest({ type: MSG_GET_VALUE, gpio: 0, value: 0 });
  assertEquals(bench.send(request, 1), []);
  bench.wiring.offer(wire.VQ_EVENT, 99, [Uint8Array.of(0, 0)], []);
  assertEquals(bench.wiring.queues[wire.VQ_EVENT]!.take(), { token: 99, length: 0 });
  assertEquals(bench.told("error").length, 2);
  assert(bench.told("error").every((text) => text.includes("of gpio: it has room for")));
});

Deno.test("gpio: requests for a line are answered in their order", () => {
  using bench = new GpioBench({ lines: 1 });
  const { wiring } = bench;
  wiring.rings[wire.VQ_REQUEST]!.onKick = () => {};
  const values = Array.from({ length: 9 }, (_, i) => i % 3 === 0 ? 1 : 0);
  bench.bench.device.stopRing(wire.VQ_REQUEST, false);
  const places = [MSG_SET_DIRECTION, ...values.flatMap(() => [MSG_SET_VALUE, MSG_GET_VALUE])].map(
    (type, i) => {
      const value = type === MSG_SET_DIRECTION ? 1 : values[Math.floor((i - 1) / 2)]!;
      const request = wire.encodeRequest({ type, gpio: 0, value });
      return wiring.offer(wire.VQ_REQUEST, i, [request.subarray(0, 3), request.subarray(3)], [
        2,
      ])[0]!;
    },
  );
  bench.bench.device.startRing(wiring.rings[wire.VQ_REQUEST]!);
  for (let i = 0; i < places.length; i++) {
    assertEquals(wiring.queues[wire.VQ_REQUEST]!.take(), { token: i, length: 2 });
  }
  const read = values.map((_, i) => wiring.bytes[places[2 * i + 2]! + 1]);
  assertEquals(read, values);
});

Deno.test("gpio: a queue that stops gives its buffers back; one that is abandoned forgets them", () => {
  for (const abandoned of [false, true]) {
    using bench = irqBench(IRQ_TYPE_EDGE_BOTH);
    bench.unmask(1);
    bench.bench.device.stopRing(wire.VQ_EVENT, abandoned);
    assertEquals(bench.events(), abandoned ? [] : [[1, INVALID]]);
    bench.drive(1, 1); // it is latched: the next device on this queue is not this one
    assertEquals(bench.events(), []);
  }
});

Deno.test("gpio: after a reset the lines are as they were at the beginning", () => {
  using bench = irqBench(IRQ_TYPE_EDGE_BOTH);
  const { device } = bench.bench;
  bench.do(MSG_SET_VALUE, 0, 1);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_OUT);
  bench.drive(1, 1);
  for (const index of [0, 1]) device.stopRing(index, false);
  device.disconnected();
  assertEquals(bench.lines.map(({ direction, value }) => `${direction} ${value}`), [
    "none 0",
    "none 1", // from outside
    "none 0",
    "none 0",
  ]);
  device.featuresAccepted(bit(wire.F_IRQ));
  bench.wiring.start();
  bench.unmask(1);
  assertEquals(bench.events(), [[1, INVALID]]);
});

Deno.test("gpio: what cannot be simulated is refused", () => {
  const specs: [GpioSpec, string][] = [
    [{ lines: 0 }, "Cannot simulate 0 lines, expected 1 to 1024"],
    [{ lines: 1025 }, "Cannot simulate 1025 lines"],
    [{ lines: 1, line: ["a", "b"] }, "Cannot simulate 1 lines with 2 names"],
    [{ line: ["a", "b", "a"] }, 'Cannot call two lines "a"'],
    [{ line: ["ä"] }, 'Cannot call a line "ä": expected 1 to 31 printable ASCII characters'],
    [{ line: [""] }, 'Cannot call a line ""'],
  ];
  for (const [spec, text] of specs) assertThrows(() => role.check(spec), SpecError, text);
  role.check({ line: ["a", "b"], lines: 1024 });
});
