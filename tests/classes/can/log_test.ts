// SPDX-License-Identifier: Apache-2.0
// Candump logs that are read and written.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { UnixListener } from "../../../ffi/mod.ts";
import { checkLogOut, LogSink } from "../../../lib/classes/can/log_sink.ts";
import { checkLogIn } from "../../../lib/classes/can/log_source.ts";
import { checkCan } from "../../../lib/classes/can/spec.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { TempFolder } from "../../support/process.ts";
import { CanBench } from "./bench.ts";
import { frame } from "./frames.ts";

const LOG = `(100.000000) can0 001#01
(100.010000) can0 002#02
(100.010000) can1 003#03

(100.000500) can0 20000040#0000000000000000
something else
(100.500000) can0 004##004
`;

/** Runs a test in a folder of its own. */
function inFolder(name: string, test: (folder: TempFolder) => void | Promise<void>): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      await test(folder);
    }));
}

const ids = (bench: CanBench) => bench.received().map((one) => one!.id);

inFolder("a log is received at its own times, from START on", (folder) => {
  const logIn = folder.file("log");
  Deno.writeTextFileSync(logIn, LOG);
  using bench = new CanBench({ logIn });
  const { clock } = bench.bench;
  bench.offer(10);
  clock.pass(1000);
  assertEquals(ids(bench), []);
  bench.start();
  assertEquals(ids(bench), [1]);
  clock.pass(9);
  assertEquals(ids(bench), []);
  clock.pass(1);
  assertEquals(ids(bench), [2, 3]);
  assertEquals(bench.told("notice"), [`Line 6 of log ${logIn} is not a frame: skipped`]);
  clock.pass(490);
  assertEquals(ids(bench), [4]);
  assertEquals(
    bench.told("notice").at(-1),
    `Log ${logIn} ended: 4 frames, 1 lines skipped`,
  );
  assertEquals(clock.alarm, Infinity);
  bench.stop();
  bench.start();
  assertEquals(ids(bench), [1], "each START begins it anew");
});

inFolder(
  "a log without a pace is received as fast as the driver takes it, and none of it lost",
  (folder) => {
    const logIn = folder.file("log");
    const lines = Array.from({ length: 5000 }, (_, i) => `(${i}.0) can0 ${hex3(i & 0x7ff)}#\n`);
    Deno.writeTextFileSync(logIn, lines.join(""));
    using bench = new CanBench({ logIn, pace: "free" });
    const { clock } = bench.bench;
    bench.start();
    const got: number[] = [];
    for (let rounds = 0; got.length < 5000 && rounds < 5000; rounds++) {
      bench.offer(64);
      clock.pass(0);
      got.push(...ids(bench));
      clock.pass(0);
    }
    assertEquals(got, lines.map((_, i) => i & 0x7ff));
    assertEquals(bench.counters.dropped, 0);
    assertEquals(clock.alarm, Infinity, "nothing is due without a log");
  },
);

function hex3(value: number): string {
  return value.toString(16).padStart(3, "0");
}

inFolder("a file that is not a log is given up after some lines", (folder) => {
  const logIn = folder.file("log");
  Deno.writeFileSync(logIn, new Uint8Array(3_000_000).fill(10));
  using lines = new CanBench({ logIn });
  lines.start();
  assertEquals(
    lines.told("notice").at(-1),
    `Log ${logIn} ended early, no frame in 1000 lines: 0 frames`,
  );
  Deno.writeFileSync(logIn, new Uint8Array(3_000_000).fill(65));
  using line = new CanBench({ logIn });
  line.start();
  assert(line.told("notice").at(-1)!.startsWith(`Log ${logIn} ended: 0 frames`));
});

inFolder("what is sent and received is noted, as candump does", async (folder) => {
  const logOut = folder.file("log");
  {
    using bench = new CanBench({ logOut, filters: ["0:100"] });
    bench.start();
    bench.send(frame(1, [0xab]));
    bench.arrive(frame(2), frame(0x100));
    bench.stop();
    bench.start();
    bench.send(frame(3));
  }
  const lines = (await Deno.readTextFile(logOut)).trimEnd().split("\n");
  assertEquals(lines.map((line) => line.split(" ").slice(1)), [
    ["fake0", "001#AB"],
    ["fake0", "002#"],
    ["fake0", "003#"],
  ]);
  const [, seconds] = /^\((\d{10}\.\d{6})\)/.exec(lines[0]!)!;
  assert(Math.abs(Number(seconds) - Date.now() / 1000) < 600);
});

inFolder("a log that cannot be written any more is reported once, as an error", () => {
  const events: { kind: string; text: string }[] = [];
  using log = new LogSink("/dev/full", "can0", { report: (event) => events.push(event) });
  for (let i = 0; i < 3; i++) {
    log.add(frame(i));
    log.flush();
  }
  assertEquals(events.map(({ kind }) => kind), ["error"]);
  assert(events[0]!.text.startsWith("Cannot write log /dev/full: "), events[0]!.text);
});

inFolder("logs that cannot be used are refused before the device listens", (folder) => {
  const socket = folder.file("socket");
  using _listener = UnixListener.listen(socket);
  const log = folder.file("log");
  Deno.writeTextFileSync(log, "");
  Deno.symlinkSync(log, folder.file("link"));
  const refused = (action: () => void, text: string) => assertThrows(action, SpecError, text);
  for (const path of [socket, folder.path, "/dev/null"]) {
    refused(() => checkLogIn(path), `Cannot read log ${path}: expected a file`);
    refused(() => checkLogOut(path, undefined), `Cannot write log ${path}: expected a file`);
  }
  refused(() => checkLogIn(folder.file("none")), "Cannot read log");
  refused(() => checkLogOut(folder.file("none/log"), undefined), "Cannot write log");
  refused(() => checkLogOut(folder.file("link"), log), "it is the log that is read");
  checkLogOut(log, undefined);
  checkLogIn(log);
});

Deno.test("invalid controllers are refused", () => {
  const table: [Parameters<typeof checkCan>[0], string][] = [
    [{ interface: "can0", bus: "car" }, "to interface can0 and to bus car: expected one of them"],
    [{ bus: "../x" }, 'Cannot use bus "../x"'],
    [{ filters: ["1"] }, 'Cannot filter by "1"'],
    [{ pace: "slow" as "real" }, 'Cannot use pace "slow"'],
    [{ logIn: "/proc/none/log" }, "Cannot read log /proc/none/log"],
    [{ logOut: "/proc/none/log" }, "Cannot write log /proc/none/log"],
    [{ interface: "viola-none" }, "CAN"],
  ];
  for (const [spec, text] of table) assertThrows(() => checkCan(spec), SpecError, text);
  checkCan({});
});
