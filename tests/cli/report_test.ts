// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertRejects } from "@std/assert";
import { FAILED, Failure, messageOf, statusOf, step, UNREACHABLE } from "../../cli/exit.ts";
import { Lines, type Output } from "../../cli/lines.ts";
import { type Screen, screenOf } from "../../cli/plain.ts";
import { counted, duration, Report } from "../../cli/report.ts";

const SCREEN: Screen = { columns: () => 80, canDraw: true, isUtf8: true };

class Sink implements Output {
  text = "";
  constructor(readonly terminal: boolean) {}
  write(bytes: Uint8Array): Promise<number> {
    const part = bytes.subarray(0, 7); // a pipe may take a part
    this.text += new TextDecoder().decode(part);
    return Promise.resolve(part.length);
  }
  isTerminal(): boolean {
    return this.terminal;
  }
}

Deno.test("Report writes sentences for people, or JSON for scripts", async () => {
  const people = new Sink(false);
  const scripts = new Sink(false);
  for (const [json, output] of [[false, people], [true, scripts]] as const) {
    const lines = new Lines(output);
    const report = new Report(json, lines, SCREEN);
    report.fact({ event: "listening", socket: "/tmp/s" }, "listening at /tmp/s");
    report.fact({ event: "position", frames: 1 }, "");
    report.text("by the way");
    report.object({ ok: true });
    report.live(["one", "two"], 0);
    report.result({ done: 1 }, ["done"]);
    await lines.flush();
  }
  assertEquals(people.text, "listening at /tmp/s\nby the way\none\ntwo\ndone\n");
  assertEquals(
    scripts.text,
    '{"event":"listening","socket":"/tmp/s"}\n{"event":"position","frames":1}\n{"ok":true}\n' +
      '{"done":1}\n',
  );
});

Deno.test("Report draws live lines over the last ones on a terminal, no wider than it is", async () => {
  const sink = new Sink(true);
  const lines = new Lines(sink);
  const report = new Report(false, lines, { ...SCREEN, columns: () => 6 });
  report.live(["card 0", "card 1"], 1000);
  report.live(["never", "seen"], 1099);
  report.live(["card2", "card3"], 1100);
  report.text("done");
  report.endLive();
  await lines.flush();
  assertEquals(
    sink.text,
    "\x1b[2Kcard \n\x1b[2Kcard \n" +
      "\x1b[2A\r\x1b[2Kcard2\n\x1b[2Kcard3\n" +
      "\x1b[2A\r\x1b[Jdone\n",
  );
});

Deno.test("Report writes live lines once a second where there is no terminal", async () => {
  const sink = new Sink(false);
  const lines = new Lines(sink);
  const report = new Report(false, lines, SCREEN);
  for (let ms = 0; ms <= 2000; ms += 100) report.live([`at ${ms}`], ms);
  await lines.flush();
  assertEquals(sink.text, "at 0\nat 1000\nat 2000\n");
});

Deno.test("Report tells scripts in JSON that lines were dropped", async () => {
  const sink = new Sink(false);
  const lines = new Lines(sink);
  const report = new Report(true, lines, SCREEN);
  for (let i = 0; i < 1002; i++) report.object(i);
  await lines.flush();
  assertEquals(sink.text.split("\n").slice(-3), ["1000", '{"event":"dropped","lines":1}', ""]);
});

Deno.test("duration() and counted() write numbers as people do", () => {
  assertEquals([0, 9.94, 12.4, 999.4, 1000, 61_000].map(duration), [
    "0 ms",
    "9.9 ms",
    "12 ms",
    "999 ms",
    "1.0 s",
    "61.0 s",
  ]);
  assertEquals([0, 1, 2].map((n) => counted(n, "xrun")), ["no xruns", "1 xrun", "2 xruns"]);
});

Deno.test("an error ends with its status and its message, without a stack", async () => {
  assertEquals(statusOf(new Failure(2, "x")), 2);
  assertEquals([statusOf(new Error("x")), statusOf("x")], [FAILED, FAILED]);
  assertEquals(messageOf("text"), "text");
  assertEquals(messageOf(new Error("bad\n    at file:///x.ts:1:2\n    at y")), "bad");
  const failed = (work: () => unknown) => assertRejects(() => step(2, "open x", work), Failure);
  const nope = await failed(() => {
    throw new Error("no");
  });
  assertEquals([nope.status, nope.message], [UNREACHABLE, "Cannot open x: no"]);
  const whole = await failed(() => Promise.reject(new Error("Cannot connect to y: no")));
  assertEquals([whole.status, whole.message], [UNREACHABLE, "Cannot connect to y: no"]);
  const kept = await failed(() => Promise.reject(new Failure(1, "mine")));
  assertEquals([kept.status, kept.message], [1, "mine"]);
});

Deno.test("Report escapes control characters, for people and for scripts", async () => {
  const name = "a\x1b[2J\x9b1m\u202eb\n.wav";
  const [people, scripts] = [new Sink(true), new Sink(false)];
  for (const [json, output] of [[false, people], [true, scripts]] as const) {
    const lines = new Lines(output);
    const report = new Report(json, lines, SCREEN);
    report.fact({ event: "e", name }, name);
    report.text(name, name);
    report.object({ name });
    report.result({ name }, [name]);
    await lines.flush();
  }
  const shown = "a\\x1b[2J\\x9b1m\\u{202e}b\\n.wav\n";
  assertEquals(people.text, shown.repeat(4));
  const literal = "a\\u001b[2J\\u009b1m\\u202eb\\n.wav";
  assertEquals(
    scripts.text,
    `{"event":"e","name":"${literal}"}\n` + `{"name":"${literal}"}\n`.repeat(2),
  );
  assertEquals(JSON.parse(scripts.text.split("\n")[0]!).name, name);
});

Deno.test("Report draws nothing on a terminal that knows no escape sequences", async () => {
  const sink = new Sink(true);
  const lines = new Lines(sink);
  const report = new Report(false, lines, { ...SCREEN, canDraw: false });
  report.live(["card 0"], 1000);
  report.live(["never"], 1999);
  report.live(["card 0 again"], 2000);
  report.text("done");
  await lines.flush();
  assertEquals(sink.text, "card 0\ncard 0 again\ndone\n");
});

Deno.test("Report writes ASCII where the locale has nothing else", async () => {
  const sink = new Sink(true);
  const lines = new Lines(sink);
  const report = new Report(false, lines, { ...SCREEN, isUtf8: false });
  report.live(["━━──  ä"], 1000);
  report.text("− × … 日\x1b");
  await lines.flush();
  assertEquals(sink.text, "\x1b[2K##--  \\xe4\n\x1b[1A\r\x1b[J- x ... \\u{65e5}\\x1b\n");
});

Deno.test("the screen is found from the environment by POSIX's rules", () => {
  const screen = (variables: Record<string, string>) => {
    const { canDraw, isUtf8 } = screenOf((name) => variables[name]);
    return [canDraw, isUtf8];
  };
  assertEquals(screen({}), [false, false]);
  assertEquals(screen({ TERM: "dumb", LANG: "C" }), [false, false]);
  assertEquals(screen({ TERM: "xterm", LANG: "de_DE.UTF-8" }), [true, true]);
  assertEquals(screen({ TERM: "linux", LANG: "C.utf8", LC_ALL: "" }), [true, true]);
  assertEquals(screen({ LANG: "C.UTF-8", LC_CTYPE: "de_DE" }), [false, false]);
  assertEquals(screen({ LANG: "C.UTF-8", LC_CTYPE: "UTF-8", LC_ALL: "POSIX" }), [false, false]);
});
