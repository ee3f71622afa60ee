// SPDX-License-Identifier: Apache-2.0
// A console at its queues, its ends played by the test. Sections are those of virtio 1.2.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkConsole } from "../../../lib/classes/console/spec.ts";
import { DRAIN_NS } from "../../../lib/classes/console/transmitter.ts";
import {
  DEVICE_READY,
  F_MULTIPORT,
  F_SIZE,
  PORT_OPEN,
  PORT_READY,
  VQ_CONTROL_RX,
  VQ_CONTROL_TX,
} from "../../../lib/classes/console/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { seeded } from "../../support/random.ts";
import { ALL, ConsoleBench, ready, TWO } from "./bench.ts";

Deno.test("ports are added, named and opened in answer to the driver", () => {
  using bench = new ConsoleBench(TWO);
  bench.ends.get("a")!.isWaiting = true;
  assertEquals(bench.shakeHands(), [
    "0 add 1",
    "1 add 1",
    "2 add 1",
    "0 console 1",
    "0 open 0",
    "0 resize 80x24",
    "1 name gps",
    "1 open 1",
    "2 name bt",
    "2 open 0",
  ]);
});

Deno.test("a message of the driver is given back before the answers that it causes", () => {
  // Linux's driver polls for it with a lock held, and takes that lock again to handle the answers.
  using bench = new ConsoleBench(TWO);
  const order: number[] = [];
  for (const queue of [VQ_CONTROL_RX, VQ_CONTROL_TX]) {
    const { ring } = bench.wiring.rings[queue]!;
    const { complete } = ring;
    ring.complete = (head, length) => {
      order.push(queue);
      complete.call(ring, head, length);
    };
  }
  bench.offer(VQ_CONTROL_RX, 9);
  bench.control(0, DEVICE_READY);
  for (const port of [0, 1, 2]) bench.control(port, PORT_READY);
  const [request, answer] = [VQ_CONTROL_TX, VQ_CONTROL_RX];
  assertEquals(order, [
    ...[request, answer, answer, answer],
    ...[request, answer, answer, answer], // port 0: a console, open or not, its size
    ...[request, answer, answer],
    ...[request, answer],
  ]);
});

Deno.test("a device of a console alone has no control queues, and its port is open", () => {
  using bench = new ConsoleBench({ console: "c" });
  const end = bench.ends.get("c")!;
  assertEquals(bench.bench.device.features & bit(F_MULTIPORT), 0n);
  assertEquals(bench.bench.device.queueCount, 2);
  end.isWaiting = true;
  end.typed = [1, 2];
  bench.offer(0);
  assertEquals(bench.received(0), [1, 2]);
  const token = bench.send(0, [3], [4]);
  assertEquals([bench.sent(0), end.shown], [[token], [3, 4]]);
});

Deno.test("without a console the driver hears of the named ports only", () => {
  using bench = new ConsoleBench({ ports: ["gps=a"] });
  assertEquals(bench.shakeHands(), ["1 add 1", "1 name gps", "1 open 0"]);
});

Deno.test("a driver that did not accept F_MULTIPORT has the console alone", () => {
  using bench = new ConsoleBench(TWO, bit(F_SIZE));
  const end = bench.ends.get("c")!;
  end.isWaiting = true;
  end.typed = [7];
  bench.offer(0);
  assertEquals(bench.received(0), [7]);
  bench.offer(VQ_CONTROL_RX, 5);
  assertEquals(bench.told(), []);
});

Deno.test("programs that leave and come are told, one after the other", () => {
  using bench = ready();
  const end = bench.end("a");
  bench.control(1, PORT_OPEN);
  end.isWaiting = true;
  assertEquals(bench.told(), ["1 open 1"]);
  end.typed = [1, 2, 3];
  end.leave();
  end.isWaiting = true; // the next is there already
  assertEquals(bench.told(), [], "what it wrote comes first");
  bench.offer(4);
  assertEquals(bench.received(1), [1, 2, 3]);
  assertEquals(bench.told(), ["1 open 0", "1 open 1"]);
});

Deno.test("the next program is not taken before the driver knows that the last has left", () => {
  using bench = new ConsoleBench(TWO);
  const end = bench.ends.get("a")!;
  bench.control(0, DEVICE_READY);
  bench.offer(VQ_CONTROL_RX, 3);
  bench.told();
  bench.control(1, PORT_READY);
  bench.offer(VQ_CONTROL_RX, 2);
  assertEquals(bench.told(), ["1 name gps", "1 open 0"]);
  end.isWaiting = true;
  bench.turn();
  end.leave();
  end.isWaiting = true;
  for (let i = 0; i < 5; i++) bench.turn();
  assert(end.isWaiting, "no buffer for the news");
  bench.offer(VQ_CONTROL_RX, 5);
  assertEquals(bench.told(), ["1 open 0", "1 open 1"]);
});

Deno.test("what is for a port that the driver has closed waits, and is gone with its writer", () => {
  using bench = ready();
  const end = bench.end("a");
  bench.offer(4, 2);
  end.isWaiting = true;
  end.typed = [1];
  assertEquals(bench.told(), ["1 open 1"]);
  assertEquals(bench.received(1), []);
  end.leave();
  assertEquals(bench.told(), ["1 open 0"]);
  end.isWaiting = true;
  end.typed = [2];
  bench.turn();
  bench.control(1, PORT_OPEN);
  assertEquals(bench.received(1), [2]);
});

Deno.test("a driver without buffers has the host held back, with at most 64 KiB read", () => {
  using bench = ready();
  const end = bench.end("a");
  bench.control(1, PORT_OPEN);
  end.isWaiting = true;
  end.typed = new Array(200_000).fill(5);
  for (let i = 0; i < 5; i++) bench.turn();
  assertEquals(end.typed.length, 200_000 - 65536);
  bench.offer(4, 60, 4096);
  assertEquals(bench.received(1).length, 200_000);
});

Deno.test("a program that does not read has the driver held back", () => {
  using bench = ready();
  const end = bench.end("a");
  end.isWaiting = true;
  bench.turn();
  end.room = 5;
  const tokens = [bench.send(1, [1, 2], [3]), bench.send(1, [4, 5, 6]), bench.send(1, [7])];
  assertEquals(bench.sent(1), tokens.slice(0, 1));
  for (let i = 0; i < 5; i++) bench.turn();
  assertEquals(end.shown, [1, 2, 3, 4, 5]);
  end.room = Infinity;
  bench.turn();
  assertEquals([bench.sent(1), end.shown], [tokens.slice(1), [1, 2, 3, 4, 5, 6, 7]]);
});

Deno.test("output of a port that is not connected is gone, as in QEMU", () => {
  using bench = ready();
  const tokens = [bench.send(1, [1]), bench.send(1, [2])];
  assertEquals(bench.sent(1), tokens);
  const token = bench.send(0, [3]);
  assertEquals(bench.sent(0), [token]);
});

Deno.test("an emergency write is put out without queues", () => {
  const bench = new ConsoleBench({ console: "c" });
  const end = bench.ends.get("c")!;
  end.isWaiting = true;
  bench.turn();
  bench.bench.device.writeConfig(8, Uint8Array.of(65, 0, 0, 0));
  bench.bench.device.writeConfig(0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 66, 0, 0, 0));
  bench.bench.device.writeConfig(0, Uint8Array.of(9, 9, 9, 9));
  bench.bench.device.writeConfig(9, Uint8Array.of(9));
  assertEquals(end.shown, [65, 66]);
  assertEquals(
    bench.bench.device.readConfig(),
    Uint8Array.of(80, 0, 24, 0, 1, 0, 0, 0, 0, 0, 0, 0),
  );
  bench[Symbol.dispose]();
  assert(end.isClosed);
});

Deno.test("another size is told, by a message or by the config space", () => {
  using bench = ready();
  bench.end("c").terminal = { cols: 132, rows: 43 };
  bench.end("c").isWaiting = true;
  assertEquals(bench.told(), ["0 open 1", "0 resize 132x43"]);
  assertEquals(bench.bench.configChanges, 1);
  bench.end("c").terminal = { cols: 100, rows: 30 };
  bench.bench.clock.pass(1000);
  assertEquals(bench.told(), ["0 resize 100x30"]);
  bench.bench.device.call("resize", [10, 10]);
  assertEquals(bench.told(), [], "the terminal knows better");
  using single = new ConsoleBench({ console: "c" });
  single.bench.device.call("resize", [300, 2]);
  assertEquals(single.bench.configChanges, 1);
  assertEquals([...single.bench.device.readConfig().subarray(0, 4)], [44, 1, 2, 0]);
  assertThrows(() => single.bench.device.call("resize", [0, 1]), SpecError);
});

Deno.test("a size is not told to a driver that did not accept F_SIZE", () => {
  using bench = ready(bit(F_MULTIPORT));
  bench.bench.device.call("resize", [10, 10]);
  assertEquals([bench.told(), bench.bench.configChanges], [[], 0]);
});

Deno.test("a queue that stops has its output written, or waited for a second", () => {
  using bench = ready();
  const end = bench.end("a");
  end.isWaiting = true;
  bench.turn();
  end.room = 1;
  const token = bench.send(1, [1, 2, 3]);
  const { device, clock } = bench.bench;
  assertEquals(device.drainRing(5), false);
  clock.pass(DRAIN_NS / 1e6 - 1);
  assertEquals(bench.wiring.rings[5]!.isDrained, false);
  clock.pass(1);
  assertEquals(bench.wiring.rings[5]!.isDrained, true);
  device.stopRing(5, false);
  assertEquals(bench.sent(1), [token]);
  assertEquals(bench.reported("dropped"), [
    "Port 1 (gps): 2 bytes of output lost as its queue stops",
  ]);
});

Deno.test("an abandoned queue keeps its output for the next", () => {
  using bench = ready();
  bench.end("a").isWaiting = true;
  bench.turn();
  bench.end("a").room = 0;
  bench.send(1, [1]);
  bench.bench.device.stopRing(5, true);
  assertEquals([bench.sent(1), bench.reported("dropped")], [[], []]);
});

Deno.test("a reset leaves programs connected, and what they wrote for the next driver", () => {
  using bench = ready();
  const end = bench.end("a");
  bench.control(1, PORT_OPEN);
  end.isWaiting = true;
  end.typed = [1, 2];
  bench.turn();
  for (let i = 0; i < bench.bench.device.queueCount; i++) bench.bench.device.stopRing(i, false);
  bench.bench.device.disconnected();
  assert(end.isOpen && !end.isClosed);
  bench.bench.device.featuresAccepted(ALL);
  bench.wiring.start();
  bench.told();
  assert(bench.shakeHands().includes("1 open 1"));
  bench.offer(4);
  assertEquals(bench.received(1), [], "the new driver has not opened it");
  bench.control(1, PORT_OPEN);
  assertEquals(bench.received(1), [1, 2]);
});

Deno.test("control messages that make no sense are ignored", () => {
  using bench = ready();
  for (const id of [3, 31, 0xffffffff]) for (const event of [3, 6]) bench.control(id, event);
  for (const event of [1, 2, 4, 5, 7, 8, 0xffff]) bench.control(0, event);
  bench.control(0, DEVICE_READY, 2);
  bench.controlBytes(Uint8Array.of(1, 0, 0, 0, 3, 0, 1));
  assertEquals(bench.told(), []);
  assertEquals(bench.wiring.rings.map(({ failure }) => failure), [
    null,
    null,
    null,
    null,
    null,
    null,
    null,
    null,
  ]);
});

Deno.test("a driver that asks without end and gives small buffers is told no more than there is", () => {
  using bench = new ConsoleBench(TWO);
  for (let i = 0; i < 1000; i++) bench.control(i % 3, i % 2 === 0 ? DEVICE_READY : PORT_READY);
  bench.offer(VQ_CONTROL_RX, 10, 7);
  bench.turn();
  assertEquals(bench.taken(VQ_CONTROL_RX).map(({ length }) => length), new Array(10).fill(0));
  bench.offer(VQ_CONTROL_RX, 30);
  assertEquals(bench.told().length, 3 + 3 + 1 + 1 + 2);
});

Deno.test("buffers of no room for a byte come back, and nothing is lost by them", () => {
  using bench = ready();
  bench.control(1, PORT_OPEN);
  const end = bench.end("a");
  end.isWaiting = true;
  end.typed = [1, 2, 3];
  bench.turn();
  bench.wiring.offer(4, 900, [Uint8Array.of(1)], []); // readable only
  bench.offer(4, 3, 1);
  assertEquals(bench.received(1), [1, 2, 3]);
});

Deno.test("a buffer that the device could write to is none of a transmit queue's, and comes back as it was", () => {
  using bench = ready();
  const end = bench.end("a");
  end.isWaiting = true;
  bench.turn();
  const [at] = bench.wiring.offer(5, 900, [Uint8Array.of(7)], [4]);
  bench.wiring.bytes.fill(0xaa, at!, at! + 4);
  bench.turn();
  assertEquals([bench.sent(1), end.shown], [[900], [7]]);
  assertEquals([...bench.wiring.bytes.subarray(at!, at! + 4)], [0xaa, 0xaa, 0xaa, 0xaa]);
});

Deno.test("bytes are bytes, whatever they are, in pieces of any size", () => {
  const draws = seeded();
  using bench = ready();
  const end = bench.end("a");
  bench.control(1, PORT_OPEN);
  end.isWaiting = true;
  bench.turn();
  const expected: number[] = [];
  for (let round = 0; round < 200; round++) {
    const bytes = [...draws.bytes(1 + draws.integer(300))];
    expected.push(...bytes);
    end.room = draws.integer(400);
    bench.send(1, bytes);
    bench.turn();
    end.room = Infinity;
    bench.turn();
    bench.sent(1);
  }
  assertEquals(end.shown, expected);
});

Deno.test("specifications that are none are refused, with what was expected", () => {
  const wrong: [spec: object, text: string][] = [
    [{ console: "tty" }, 'Cannot connect a port to "tty"'],
    [{ console: "pty:" }, 'Cannot connect a port to "pty:"'],
    [{ console: "tcp:127.0.0.1:70000" }, "Cannot connect a port"],
    [{ ports: ["gps"] }, 'Cannot make port "gps": expected NAME=END'],
    [{ ports: ["a/b=null"] }, "Cannot make port"],
    [{ ports: ["a=null", "a=null"] }, "Cannot make two ports of the name a"],
    [{ console: "stdio", ports: ["a=stdio"] }, "Cannot connect two ports to stdio"],
    [{ ports: Array.from({ length: 31 }, (_, i) => `p${i}=null`) }, "Cannot make 31 ports"],
    [{ size: "80" }, 'Cannot use size "80": expected COLSxROWS'],
    [{ size: "0x24" }, "Cannot use size"],
  ];
  for (const [spec, text] of wrong) assertThrows(() => checkConsole(spec), SpecError, text);
  checkConsole({
    console: "stdio",
    ports: ["a=tcp:[::1]:0", "b=unix:/x", "c=pty"],
    size: "132x43",
  });
});
