// SPDX-License-Identifier: Apache-2.0
// The control socket, with good and bad clients.
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { OsError, Reactor, UnixSocket, WOULD_BLOCK } from "../../ffi/mod.ts";
import { ControlServer } from "../../lib/scene/control_server.ts";
import { turn } from "../support/fake_time.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder } from "../support/process.ts";

/** A server at a path of its own. */
async function withServer(test: (path: string, server: ControlServer) => Promise<void>) {
  await using folder = await TempFolder.create();
  await withoutLeaks(async () => {
    await using reactor = new Reactor();
    const path = folder.file("control");
    using server = new ControlServer(reactor, path, {
      status: () => "all is well\n",
      long: () => "x".repeat(2 ** 20),
    });
    await test(path, server);
  });
}

function send(socket: UnixSocket, text: string): void {
  const bytes = new TextEncoder().encode(text);
  assertEquals(socket.send(bytes, 0, bytes.length), bytes.length);
}

/** All that comes until the connection ends. */
async function answerTo(socket: UnixSocket): Promise<string> {
  const buffer = new Uint8Array(65536);
  for (let text = "";;) {
    const { length } = socket.receive(buffer, 0, buffer.length);
    if (length === 0) return text;
    if (length === WOULD_BLOCK) await turn(1);
    else text += new TextDecoder().decode(buffer.subarray(0, length));
  }
}

Deno.test("a word is answered, and the connection ends", () =>
  withServer(async (path) => {
    for (let i = 0; i < 20; i++) {
      using client = UnixSocket.connect(path);
      send(client, "sta");
      await turn();
      send(client, "tus\n");
      assertEquals(await answerTo(client), "all is well\n");
    }
    assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o600);
  }));

Deno.test("other words are refused in words, and what is no word ends the connection", () =>
  withServer(async (path) => {
    const table: [text: string, answer: RegExp][] = [
      ["\n", /^Cannot answer "", expected one of status, long\n$/],
      ["constructor\n", /^Cannot answer "constructor"/],
      ["x".repeat(64), /^$/],
      ["\xff\0\n", /^Cannot answer/],
    ];
    for (const [text, answer] of table) {
      using client = UnixSocket.connect(path);
      send(client, text);
      assertMatch(await answerTo(client), answer);
    }
  }));

Deno.test("a client that does not read, and those that say nothing, hold nobody up", () =>
  withServer(async (path) => {
    using stack = new DisposableStack();
    const deaf = stack.use(UnixSocket.connect(path));
    send(deaf, "long\n");
    const silent: UnixSocket[] = [];
    while (silent.length < 6) {
      silent.push(stack.use(UnixSocket.connect(path)));
      await turn(5); // few connections may wait to be accepted
    }
    using client = UnixSocket.connect(path);
    send(client, "status\n");
    assertEquals(await answerTo(client), "all is well\n");
    for (const socket of silent) socket.close();
    assert((await answerTo(deaf)).length < 2 ** 20, "as much as its socket takes");
  }));

Deno.test("the end of the server ends all connections, and frees the path", async () => {
  await using folder = await TempFolder.create();
  await withoutLeaks(async () => {
    await using reactor = new Reactor();
    const path = folder.file("control");
    const server = new ControlServer(reactor, path, {});
    assertThrows(() => new ControlServer(reactor, path, {}), OsError, "EADDRINUSE");
    using client = UnixSocket.connect(path);
    await turn(20);
    server[Symbol.dispose]();
    server[Symbol.dispose]();
    assertEquals(await answerTo(client), "");
    assertThrows(() => Deno.lstatSync(path), Deno.errors.NotFound);
  });
});
