// SPDX-License-Identifier: Apache-2.0
// The ends of ports as programs of the host find them: sockets, and terminals with their links.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkConsole } from "../../../lib/classes/console/spec.ts";
import { PORT_OPEN } from "../../../lib/classes/console/wire.ts";
import { Fd, O_RDWR, readFd, UnixSocket, WOULD_BLOCK, writeFd } from "../../../ffi/mod.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { withFolder } from "../../guest/harness.ts";
import { ALL, ConsoleBench } from "./bench.ts";

const O_NONBLOCK = 0o4000;

/** Port 1 at an end, set up and open, with buffers. */
function ready(end: string): ConsoleBench {
  const bench = new ConsoleBench({ ports: [`a=${end}`] }, ALL, true);
  bench.shakeHands();
  bench.control(1, PORT_OPEN);
  bench.offer(4, 50, 4096);
  return bench;
}

/** Lets the device do what there is to do, until something is so. */
function until(bench: ConsoleBench, isSo: () => boolean): void {
  const { watches } = bench.bench;
  for (let i = 0; i < 2000; i++) {
    if (isSo()) return;
    watches.dispatch(watches.epoll.wait(5));
    bench.turn();
  }
  throw new Error("it did not become so");
}

/** Waits for the next control messages. */
function told(bench: ConsoleBench): string[] {
  let all: string[] = [];
  until(bench, () => (all = bench.told()).length > 0);
  return all;
}

/** Waits for so many bytes. */
function received(bench: ConsoleBench, count: number): number[] {
  const all: number[] = [];
  until(bench, () => all.push(...bench.received(1)) >= count);
  return all;
}

const bytes = (...values: number[]) => Uint8Array.from(values);

/** What a descriptor has to read now. */
function readAll(number: number): number[] {
  const buffer = new Uint8Array(65536);
  const count = readFd(number, buffer, 0, buffer.length);
  return [...buffer.subarray(0, Math.max(count, 0))];
}

Deno.test("a Unix socket: one program after another, bytes both ways", () =>
  withFolder((folder) => {
    const path = `${folder}/a`;
    using bench = ready(`unix:${path}`);
    using first = UnixSocket.connect(path);
    using second = UnixSocket.connect(path);
    second.send(bytes(7), 0, 1);
    assertEquals(told(bench), ["1 open 1"]);
    first.send(bytes(0, 255, 10), 0, 3);
    assertEquals(received(bench, 3), [0, 255, 10]);
    bench.send(1, [13, 0, 128]);
    assertEquals(readAll(first.number), [13, 0, 128]);
    first.send(bytes(1), 0, 1);
    first.close();
    assertEquals(received(bench, 2), [1, 7]);
    assertEquals(bench.told(), ["1 open 0", "1 open 1"]);
    bench.send(1, [5]);
    assertEquals(readAll(second.number), [5]);
  }));

Deno.test("a program that has ended its sending is answered, by a Unix socket", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/a`;
    using bench = ready(`unix:${path}`);
    using client = await Deno.connect({ transport: "unix", path });
    await client.write(bytes(1, 2));
    await client.closeWrite();
    assertEquals(received(bench, 2), [1, 2]);
    bench.turn();
    bench.send(1, [3]);
    const buffer = new Uint8Array(9);
    assertEquals(await client.read(buffer), 1);
    assertEquals(bench.told(), ["1 open 1"]);
    client.close();
    assertEquals(told(bench), ["1 open 0"]);
  });
});

Deno.test("TCP: a program that ends its sending has left, and its place is free", async () => {
  using bench = ready("tcp:127.0.0.1:0");
  const [text] = bench.reported("port");
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(text!)![1]);
  {
    using client = await Deno.connect({ hostname: "127.0.0.1", port });
    await client.write(bytes(200, 201));
    assertEquals(received(bench, 2), [200, 201]);
    assertEquals(bench.told(), ["1 open 1"]);
    bench.send(1, [1, 2]);
    assertEquals(await client.read(new Uint8Array(9)), 2);
    await client.closeWrite();
    assertEquals(told(bench), ["1 open 0"]);
  }
  using _next = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(told(bench), ["1 open 1"]);
});

Deno.test("while a program is connected another is refused at once, and one that comes back is not", () =>
  withFolder((folder) => {
    const path = `${folder}/a`;
    using bench = ready(`unix:${path}`);
    using first = UnixSocket.connect(path);
    assertEquals(told(bench), ["1 open 1"]);
    for (let i = 0; i < 3; i++) {
      using other = UnixSocket.connect(path);
      const buffer = new Uint8Array(9);
      until(bench, () => readFd(other.number, buffer, 0, 9) !== WOULD_BLOCK);
      assertEquals(readFd(other.number, buffer, 0, 9), 0, "it is closed");
    }
    assertEquals(bench.reported("notice"), [
      `A second program was refused at ${path}: one is connected`,
    ]);
    writeFd(first.number, bytes(1, 2), 0, 2);
    first.hangUp();
    using next = UnixSocket.connect(path); // before the device sees that the first has left
    assertEquals(received(bench, 2), [1, 2]);
    const all: string[] = [];
    until(bench, () => all.push(...bench.told()) >= 2);
    assertEquals(all, ["1 open 0", "1 open 1"]);
    bench.send(1, [3]);
    until(bench, () => bench.sent(1).length === 1);
    assertEquals(readAll(next.number), [3]);
  }));

Deno.test("a program that does not read is held back by its socket, and nothing is lost", () =>
  withFolder((folder) => {
    const path = `${folder}/a`;
    using bench = ready(`unix:${path}`);
    using client = UnixSocket.connect(path);
    told(bench);
    const piece = Array.from({ length: 60_000 }, (_, i) => i & 0xff);
    for (let i = 0; i < 20; i++) bench.send(1, piece);
    const done = bench.sent(1).length;
    assert(done < 20, "its buffer holds less than 1.2 MB");
    const all: number[] = [];
    until(bench, () => {
      for (const byte of readAll(client.number)) all.push(byte);
      return all.length >= 20 * piece.length;
    });
    assertEquals(done + bench.sent(1).length, 20);
    assert(all.every((byte, i) => byte === (i % piece.length & 0xff)));
  }));

Deno.test("a terminal: opened, used, closed and opened again", () =>
  withFolder((folder) => {
    const link = `${folder}/tty`;
    using bench = ready(`pty:${link}`);
    bench.send(1, [9, 9, 9]); // nobody is there to see it
    assertEquals(bench.sent(1).length, 1);
    for (let round = 0; round < 3; round++) {
      using terminal = Fd.open(link, O_RDWR | O_NONBLOCK);
      assertEquals(told(bench), ["1 open 1"]);
      writeFd(terminal.number, bytes(3, 13, 10, 0, 200), 0, 5);
      assertEquals(received(bench, 5), [3, 13, 10, 0, 200]);
      bench.send(1, [10, 4, 0, 255]);
      let shown: number[] = [];
      until(bench, () => (shown = [...shown, ...readAll(terminal.number)]).length >= 4);
      assertEquals(shown, [10, 4, 0, 255]);
      terminal.close();
      assertEquals(told(bench), ["1 open 0"]);
    }
  }));

Deno.test("a program that opens a terminal, writes and closes at once is heard", () =>
  withFolder((folder) => {
    const link = `${folder}/tty`;
    using bench = ready(`pty:${link}`);
    for (let round = 1; round < 4; round++) {
      using terminal = Fd.open(link, O_RDWR | O_NONBLOCK);
      writeFd(terminal.number, bytes(round, round), 0, 2);
      terminal.close();
      assertEquals(received(bench, 2), [round, round]);
      const news: string[] = [];
      until(bench, () => news.push(...bench.told()) >= 2);
      assertEquals(news, ["1 open 1", "1 open 0"]);
    }
  }));

Deno.test("a link: made, removed, and nobody else's taken", () =>
  withFolder((folder) => {
    const link = `${folder}/tty`;
    const spec = { console: `pty:${link}` };
    Deno.symlinkSync("/dev/pts/999999", link); // left behind
    {
      using bench = new ConsoleBench(spec, ALL, true);
      const target = Deno.readLinkSync(link);
      assert(/^\/dev\/pts\/\d+$/.test(target) && target !== "/dev/pts/999999");
      assertThrows(() => new ConsoleBench(spec, ALL, true), SpecError, `it leads to ${target}`);
      assertEquals(bench.reported("port"), [`Port 0 is at ${link} (${target})`]);
    }
    assertThrows(() => Deno.readLinkSync(link), Deno.errors.NotFound);
    for (
      const make of [
        () => Deno.writeTextFileSync(link, "mine"),
        () => Deno.symlinkSync("/etc/passwd", link),
      ]
    ) {
      make();
      assertThrows(() => checkConsole(spec), SpecError, `Cannot make link ${link} to a terminal`);
      assertThrows(() => new ConsoleBench(spec, ALL, true), SpecError, "Cannot make link");
      Deno.removeSync(link);
    }
    assertThrows(() => checkConsole({ console: `pty:${folder}/no/tty` }), SpecError, "no folder");
    using _bench = new ConsoleBench(spec, ALL, true);
    Deno.removeSync(link);
    Deno.writeTextFileSync(link, "another's");
    _bench[Symbol.dispose]();
    assertEquals(Deno.readTextFileSync(link), "another's");
  }));

Deno.test("a place that is taken is told", () =>
  withFolder((folder) => {
    using _bench = ready(`unix:${folder}/a`);
    assertThrows(() => ready(`unix:${folder}/a`), SpecError, "EADDRINUSE");
    assertThrows(() => ready("tcp:300.1.1.1:1"), SpecError, "EINVAL");
    assertThrows(() => ready("tcp:[::zz]:1"), Error);
  }));
