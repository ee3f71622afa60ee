// SPDX-License-Identifier: Apache-2.0
// Lines of a host's chip: what the device does with a chip that a test plays, and what the kernel is given.
import { assertEquals, assertThrows } from "@std/assert";
import { GPIO_LINE_FLAGS, GpioChip, levelsOf, lineConfig, lineRequest } from "../../../ffi/mod.ts";
import { type Bias, ChipLines, offsetsOf } from "../../../lib/classes/gpio/chip.ts";
import { device as role } from "../../../lib/classes/gpio/device.ts";
import * as wire from "../../../lib/classes/gpio/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { GpioBench } from "./bench.ts";
import { FakeChip } from "./fake_chip.ts";

const { MSG_GET_VALUE, MSG_IRQ_TYPE, MSG_SET_DIRECTION, MSG_SET_VALUE } = wire;
const { DIRECTION_IN, DIRECTION_NONE, DIRECTION_OUT } = wire;
const { IRQ_STATUS_VALID: VALID } = wire;

/** A controller of a chip with four lines, the last of which is not used. */
class ChipBench extends GpioBench {
  readonly chip: FakeChip;

  constructor(bias: Bias | null = null) {
    const chip = new FakeChip(["RESET", "", "LED", "other"]);
    const bench: { host?: ChipBench } = {};
    super({}, 1n, (onEdge) => {
      const host = {
        watch: (...args: Parameters<typeof this.bench.watches.watch>) =>
          bench.host!.bench.watches.watch(...args),
        report: (event: { kind: "error" | "notice"; text: string }) =>
          void bench.host!.bench.events.push(event),
      };
      return new ChipLines(chip, [0, 1, 2], bias, host, onEdge);
    });
    bench.host = this;
    this.chip = chip;
  }

  /** Takes what the chip has to tell. */
  turn(): void {
    const { watches, device } = this.bench;
    watches.dispatch(watches.epoll.wait(0));
    device.turn();
  }
}

Deno.test("gpio: a chip's line is taken while the driver uses it, and no longer", () => {
  using bench = new ChipBench();
  const { chip } = bench;
  const inUse = () => chip.wires.map(({ flags }) => flags);
  bench.do(MSG_SET_VALUE, 2, 1);
  assertEquals(inUse(), [null, null, null, null]);
  bench.do(MSG_SET_DIRECTION, 2, DIRECTION_OUT);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_IN);
  assertEquals(inUse(), [4, null, 8, null]);
  assertEquals(chip.wires[2]!.level, 1);
  bench.do(MSG_SET_VALUE, 2, 0);
  assertEquals(chip.wires[2]!.level, 0);
  bench.do(MSG_SET_DIRECTION, 2, DIRECTION_NONE);
  assertEquals(inUse(), [4, null, null, null]);
  assertEquals(chip.log, [
    "use line 2 of /dev/gpiochip7 0x8 1",
    "use line 0 of /dev/gpiochip7 0x4 0",
  ]);
});

Deno.test("gpio: a chip's inputs are read, in use or not", () => {
  using bench = new ChipBench();
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_IN);
  for (const line of [0, 1]) {
    bench.chip.drive(line, 1);
    assertEquals(bench.do(MSG_GET_VALUE, line), 1);
  }
  assertEquals(bench.chip.wires[1]!.flags, null);
});

Deno.test("gpio: edges of a chip's line interrupt, and are asked of it as the driver does", () => {
  using bench = new ChipBench("pull-up");
  const { chip } = bench;
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_IN);
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_EDGE_RISING);
  bench.unmask(0);
  chip.drive(0, 1);
  bench.turn();
  assertEquals(bench.events(), [[0, VALID]]);
  chip.drive(0, 0);
  chip.drive(0, 1);
  bench.turn(); // latched
  bench.unmask(0);
  assertEquals(bench.events(), [[0, VALID]]);
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_NONE);
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_EDGE_FALLING);
  assertEquals(chip.log.map((line) => line.replace("line 0 of /dev/gpiochip7 ", "")), [
    "use 0x104 0",
    "configure 0x114 0",
    "configure 0x104 0",
    "configure 0x124 0",
  ]);
});

Deno.test("gpio: edges that a chip keeps are forgotten when the interrupt is disabled", () => {
  using bench = new ChipBench();
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_EDGE_BOTH);
  for (const level of [1, 0, 1] as const) bench.chip.drive(0, level);
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_IN); // the line stays in use
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_NONE);
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_EDGE_BOTH);
  bench.unmask(0);
  bench.turn();
  assertEquals(bench.events(), []);
  bench.chip.drive(0, 0);
  bench.turn();
  assertEquals(bench.events(), [[0, VALID]]);
});

Deno.test("gpio: a level of a chip's line interrupts by its edges, and by what it is when unmasked", () => {
  using bench = new ChipBench();
  bench.do(MSG_IRQ_TYPE, 1, wire.IRQ_TYPE_LEVEL_LOW); // of a line without a direction
  assertEquals(bench.chip.wires[1]!.flags, 4 | 0x10 | 0x20);
  bench.unmask(1);
  assertEquals(bench.events(), [[1, VALID]]);
  bench.chip.drive(1, 1);
  bench.unmask(1);
  bench.turn();
  assertEquals(bench.events(), []);
  bench.chip.drive(1, 0);
  bench.turn();
  assertEquals(bench.events(), [[1, VALID]]);
});

Deno.test("gpio: a line that somebody else uses is refused, and told of", () => {
  using bench = new ChipBench();
  bench.chip.wires[1]!.flags = 0;
  assertEquals(bench.ask(MSG_SET_DIRECTION, 1, DIRECTION_IN), [wire.STATUS_ERR, 0]);
  assertEquals(bench.ask(MSG_GET_VALUE, 1), [wire.STATUS_ERR, 0]);
  assertEquals(bench.do(wire.MSG_GET_DIRECTION, 1), DIRECTION_NONE);
  const text = "Cannot use line 1 of /dev/gpiochip7: device or resource busy (EBUSY)";
  assertEquals(bench.told("error"), [text, text]);
});

Deno.test("gpio: a chip that is unplugged interrupts no more, and is told of once", () => {
  using bench = new ChipBench();
  bench.do(MSG_IRQ_TYPE, 0, wire.IRQ_TYPE_EDGE_BOTH);
  bench.chip.wires[0]!.user!.isGone = true;
  bench.chip.drive(0, 1);
  for (let i = 0; i < 3; i++) bench.turn();
  assertEquals(bench.told("error").length, 1);
  assertEquals(bench.events(), []);
});

Deno.test("gpio: lines and the chip are given back at the end", () => {
  const bench = new ChipBench();
  bench.do(MSG_SET_DIRECTION, 0, DIRECTION_OUT);
  bench.bench.device.disconnected();
  assertEquals(bench.chip.wires.map(({ flags }) => flags), [null, null, null, null]);
  bench[Symbol.dispose]();
  assertEquals(bench.chip.isClosed, true);
});

Deno.test("gpio: a chip's names are those that are allowed and unique", () => {
  const chip = new FakeChip(["A", "ä", "B", "A", ""]);
  const host = { watch: () => ({ close() {}, [Symbol.dispose]() {} }), report: () => {} };
  const { names } = new ChipLines(chip, [0, 1, 2, 3, 4], null, host, () => {});
  assertEquals(names, ["A", "", "B", "", ""]);
});

Deno.test("gpio: lines of a chip are chosen by name or number", () => {
  const chip = new FakeChip(["A", "B", "B", "0", ""]);
  assertEquals(offsetsOf(chip, [], 5), [0, 1, 2, 3, 4]);
  assertEquals(offsetsOf(chip, ["4", "A", "2", "0"], 5), [4, 0, 2, 3]);
  const wrong: [string[], string][] = [
    [["C"], 'Cannot use line "C" of /dev/gpiochip7: the chip has no such line, expected a name or'],
    [["5"], "has no such line"],
    [["B"], "has several lines of that name"],
    [["A", "A"], 'Cannot use line "A" of /dev/gpiochip7 twice'],
  ];
  for (const [lines, text] of wrong) {
    assertThrows(() => offsetsOf(chip, lines, 5), SpecError, text);
  }
  assertThrows(() => offsetsOf(chip, [], 4), SpecError, "Cannot use 5 lines of /dev/gpiochip7");
});

Deno.test("gpio: what is no chip is refused, with what to try", () => {
  assertThrows(() => role.check({ chip: "/dev/gpiochip-none" }), SpecError, "gpiodetect lists");
  assertThrows(() => role.check({ chip: "/dev/null" }), SpecError, "as a GPIO chip");
  assertThrows(() => role.check({ chip: "/dev/null", lines: 3 }), SpecError, "Cannot simulate 3");
  assertThrows(() => role.check({ bias: "pull-up" }), SpecError, "without a chip");
  assertThrows(() => role.check({ bias: "up" as Bias }), SpecError, 'Cannot use bias "up"');
  assertThrows(() => GpioChip.openChip("/dev/null"), Error, "ENOTTY");
});

Deno.test("gpio: what the kernel is given and gives, byte by byte", () => {
  const { GPIO_V2_LINE_FLAG_INPUT: INPUT, GPIO_V2_LINE_FLAG_OUTPUT: OUTPUT } = GPIO_LINE_FLAGS;
  const set = (bytes: Uint8Array) =>
    [...bytes.entries()].filter(([, byte]) => byte !== 0).map(([at, byte]) => [at, byte]);
  assertEquals(set(lineConfig(INPUT, 1)), [[0, 4]]);
  assertEquals(set(lineConfig(OUTPUT, 1)), [[0, 8], [8, 1], [32, 2], [40, 1], [48, 1]]);
  assertEquals(set(lineConfig(OUTPUT, 0)), [[0, 8], [8, 1], [32, 2], [48, 1]]);
  assertEquals(set(lineRequest(0x0201, INPUT, 0, "ab")), [
    ...[[0, 1], [1, 2]], // the offset
    ...[[256, 0x61], [257, 0x62]], // the consumer
    [288, 4],
    ...[[560, 1], [565, 1]], // one line, 256 events
  ]);
  const events = new Uint8Array(3 * 48 + 47);
  [events[8], events[56], events[104]] = [2, 1, 7];
  assertEquals(levelsOf(events), [0, 1]);
});
