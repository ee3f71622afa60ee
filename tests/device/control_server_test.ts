// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { EventFd, UnixSocket, Watches } from "../../ffi/mod.ts";
import {
  type ControlClient,
  type ControlHandler,
  ControlServer,
  MOST_CLIENTS,
  MOST_REQUEST_BYTES,
  MOST_UNREAD,
} from "../../lib/device/control_server.ts";

/** A device that says back what it is asked, unless it is told to keep it. */
class Echo implements ControlHandler {
  readonly asked: unknown[] = [];
  readonly clients = new Set<ControlClient>();
  gones = 0;
  isHeld = false;

  request(request: unknown, client: ControlClient): void {
    this.asked.push(request);
    this.clients.add(client);
    if (request === "fail") throw new Error("Cannot do that");
    if (!this.isHeld) client.reply({ echo: request });
  }

  gone(client: ControlClient): void {
    this.clients.delete(client);
    this.gones++;
  }
}

/** A server, and what happens at it. */
class Scene implements Disposable {
  readonly folder = Deno.makeTempDirSync();
  readonly path = `${this.folder}/socket.control`;
  readonly watches = new Watches();
  readonly echo = new Echo();
  readonly errors: string[] = [];
  readonly server: ControlServer;
  readonly #sockets: UnixSocket[] = [];

  constructor() {
    const watch = this.watches.watch.bind(this.watches);
    const report = ({ text }: { text: string }) => void this.errors.push(text);
    this.server = new ControlServer(this.path, { watch, report }, this.echo);
  }

  /** Lets the server do all that it can. */
  turn(): void {
    for (let n; (n = this.watches.epoll.wait(0)) > 0;) this.watches.dispatch(n);
  }

  connect(): UnixSocket {
    const socket = UnixSocket.connect(this.path);
    this.#sockets.push(socket);
    this.turn();
    return socket;
  }

  send(socket: UnixSocket, text: string): void {
    const bytes = new TextEncoder().encode(text);
    assertEquals(socket.send(bytes, 0, bytes.length), bytes.length);
    this.turn();
  }

  /** What there is to read; null when the server has closed. */
  read(socket: UnixSocket): string | null {
    const bytes = new Uint8Array(2 ** 20);
    try {
      const { length } = socket.receive(bytes, 0, bytes.length, 0);
      return length === 0 ? null : new TextDecoder().decode(bytes.subarray(0, Math.max(length, 0)));
    } catch {
      return null; // reset: it had not read all
    }
  }

  [Symbol.dispose](): void {
    this.server[Symbol.dispose]();
    for (const socket of this.#sockets) socket.close();
    this.watches.close();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("only the owner may connect to a control socket, and it is gone with its server", () => {
  const scene = new Scene();
  assertEquals(Deno.lstatSync(scene.path).mode! & 0o777, 0o600);
  scene.server[Symbol.dispose]();
  assertThrows(() => Deno.lstatSync(scene.path), Deno.errors.NotFound);
  scene[Symbol.dispose]();
});

Deno.test("requests are answered in their order, in whatever pieces they come", () => {
  using scene = new Scene();
  const socket = scene.connect();
  for (const piece of ["1\n2", "2\n", '"a', 'b"\n', "[3]\n{}\n"]) scene.send(socket, piece);
  assertEquals(
    scene.read(socket),
    '{"echo":1}\n{"echo":22}\n{"echo":"ab"}\n{"echo":[3]}\n{"echo":{}}\n',
  );
});

Deno.test("what is no JSON, and what cannot be done, is answered; the next request is served", () => {
  using scene = new Scene();
  const socket = scene.connect();
  scene.send(socket, '{"a":\n\xff\n"fail"\n\n1\n');
  const lines = scene.read(socket)!.trimEnd().split("\n").map((line) => JSON.parse(line));
  const noJson = { error: "Cannot read a request: it is no JSON value" };
  assertEquals(lines, [noJson, noJson, { error: "Cannot do that" }, noJson, { echo: 1 }]);
});

Deno.test("a request that is too long ends the connection", () => {
  using scene = new Scene();
  const socket = scene.connect();
  scene.send(socket, "1".repeat(MOST_REQUEST_BYTES - 1) + "\n");
  assertEquals(scene.echo.asked.length, 1);
  scene.read(socket);
  scene.send(socket, "1".repeat(MOST_REQUEST_BYTES));
  assertStringIncludes(scene.read(socket)!, "Cannot take a request of more than 4096 bytes");
  assertEquals([scene.read(socket), scene.echo.gones], [null, 1]);
});

Deno.test("a client is not served before its last request was answered", () => {
  using scene = new Scene();
  scene.echo.isHeld = true;
  const socket = scene.connect();
  scene.send(socket, "1\n2\n3\n");
  assertEquals(scene.echo.asked, [1]);
  const [client] = scene.echo.clients;
  client!.tell({ told: true });
  client!.reply({ done: 1 });
  assertEquals(scene.echo.asked, [1, 2]);
  scene.echo.isHeld = false;
  client!.reply({ done: 2 });
  client!.reply({ done: "again" }); // it has asked nothing more
  assertEquals(scene.read(socket), '{"told":true}\n{"done":1}\n{"done":2}\n{"echo":3}\n');
});

Deno.test("a client that does not read keeps nobody waiting, and is told what it has missed", () => {
  using scene = new Scene();
  const slow = scene.connect();
  const other = scene.connect();
  scene.send(slow, '"slow"\n');
  const [client] = scene.echo.clients;
  const TELLS = 40_000;
  for (let i = 0; i < TELLS; i++) client!.tell({ i });
  scene.turn();
  scene.send(slow, "1\n2\n");
  assertEquals(scene.echo.asked, ["slow"]); // it is asked nothing more until it has read
  scene.send(other, '"other"\n');
  assertEquals(scene.read(other), '{"echo":"other"}\n');
  let text = "";
  for (let i = 0; i < 100 && !text.includes('{"echo":2}'); i++) {
    text += scene.read(slow) ?? "";
    scene.turn();
  }
  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  const seen = lines.filter(({ i }) => i !== undefined).length;
  const { dropped } = lines.find((line) => line.dropped !== undefined)!;
  assert(dropped > 0 && seen + dropped === TELLS, `${seen} + ${dropped}`);
  assert(text.length < 2 ** 20 + MOST_UNREAD);
  assertEquals(lines.slice(-2), [{ echo: 1 }, { echo: 2 }]);
});

Deno.test("so many clients and no more; when one goes the next is welcome", () => {
  using scene = new Scene();
  const sockets = Array.from({ length: MOST_CLIENTS + 1 }, () => scene.connect());
  assertEquals(scene.read(sockets.at(-1)!), null);
  sockets[0]!.close();
  scene.turn();
  assertEquals(scene.echo.gones, 1);
  const next = scene.connect();
  scene.send(next, "1\n");
  assertEquals(scene.read(next), '{"echo":1}\n');
});

Deno.test("a client that sends descriptors is disconnected", () => {
  using scene = new Scene();
  const socket = scene.connect();
  using event = EventFd.create();
  socket.send(Uint8Array.of(0x31, 0x0a), 0, 2, [event.number]);
  scene.turn();
  assertEquals([scene.read(socket), scene.echo.asked], [null, []]);
});

Deno.test("a client that is gone is not answered", () => {
  using scene = new Scene();
  scene.echo.isHeld = true;
  const socket = scene.connect();
  scene.send(socket, "1\n");
  const [client] = scene.echo.clients;
  socket.close();
  scene.turn();
  client!.tell({ a: 1 });
  client!.reply({ b: 1 });
  assertEquals(scene.echo.gones, 1);
});
