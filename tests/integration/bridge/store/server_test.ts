// SPDX-License-Identifier: Apache-2.0
// What clients do to the store process, of good and of ill will: it holds what it holds.
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  EventFd,
  type Fd,
  Reactor,
  signalEvent,
  takeEvent,
  UnixSocket,
} from "../../../../ffi/mod.ts";
import {
  decodeReply,
  encodeReply,
  encodeRequest,
  MAX_DESCRIPTORS,
  MAX_MESSAGE,
  type Verb,
} from "../../../../lib/bridge/store/protocol.ts";
import {
  MAX_CLIENTS,
  MAX_NAMES,
  MAX_REQUESTS_A_SECOND,
  StoreServer,
} from "../../../../lib/bridge/store/server.ts";
import { violaBy } from "../../cli/viola.ts";
import { socketsIn, withoutLeaks } from "../../../support/leaks.ts";
import { Process, TempFolder } from "../../../support/process.ts";

/** A client that says whatever it likes. */
class Client implements Disposable {
  readonly socket: UnixSocket;

  constructor(path: string, readonly reactor: Reactor) {
    this.socket = UnixSocket.connect(path);
  }

  send(bytes: Uint8Array<ArrayBuffer>, fds: readonly number[] = []): void {
    try {
      assertEquals(this.socket.send(bytes, 0, bytes.length, fds), bytes.length);
    } catch (error) {
      // Who was turned away at once was told so before.
      assertEquals((error as { code?: string }).code, "EPIPE");
    }
  }

  /** @returns what comes: the reply's verdict and text, and descriptors; "hung up" */
  async receive(): Promise<{ reply: string; fds: Fd[] }> {
    await this.reactor.readable(this.socket, 10_000);
    const buffer = new Uint8Array(MAX_MESSAGE);
    const { length, fds } = this.socket.receive(buffer, 0, buffer.length);
    if (length === 0) return { reply: "hung up", fds };
    const { verdict, text } = decodeReply(buffer.subarray(0, length));
    return { reply: text === "" ? verdict : `${verdict}: ${text}`, fds };
  }

  async ask(verb: Verb, name: string, fds: readonly number[] = []): Promise<string> {
    this.send(encodeRequest({ verb, name }), fds);
    const { reply, fds: out } = await this.receive();
    for (const fd of out) fd.close();
    return reply;
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}

/** A store in this process. */
class Place implements AsyncDisposable {
  readonly server: StoreServer;
  readonly reactor = new Reactor();

  /** What the server's clock shows. */
  ms = 0;

  private constructor(readonly folder: TempFolder, uid?: number) {
    const now = (): number => this.ms;
    const options = { now, ...(uid === undefined ? {} : { uid }) };
    this.server = new StoreServer(folder.file("store"), this.reactor, options);
  }

  static async create(uid?: number): Promise<Place> {
    return new Place(await TempFolder.create(), uid);
  }

  client(): Client {
    return new Client(this.server.path, this.reactor);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    await this.reactor.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

function inPlace(body: (place: Place) => Promise<void>): () => Promise<void> {
  return () =>
    withoutLeaks(async () => {
      await using place = await Place.create();
      await body(place);
      // Whatever was done to it: it serves the next one.
      using client = place.client();
      using event = EventFd.create();
      assertEquals(await client.ask("put", "the next one", [event.number]), "done");
      assertEquals(await client.ask("has", "the next one"), "done");
    });
}

Deno.test(
  "stored descriptors outlive the connection and come back unchanged",
  inPlace(async (place) => {
    using first = EventFd.create();
    using second = EventFd.create();
    {
      using client = place.client();
      assertEquals(await client.ask("has", "a"), "nothing");
      assertEquals(await client.ask("take", "a"), "done");
      assertEquals(await client.ask("put", "a", [first.number, second.number]), "done");
      assertEquals(await client.ask("has", "a"), "done");
    }
    for (let i = 0; i < 2; i++) {
      using client = place.client();
      client.send(encodeRequest({ verb: "take", name: "a" }));
      const { reply, fds } = await client.receive();
      assertEquals([reply, fds.length], ["done", 2]);
      signalEvent(fds[1]!.number);
      assertEquals(takeEvent(second.number), 1);
      for (const fd of fds) fd.close();
    }
    using client = place.client();
    assertEquals(await client.ask("put", "a", [second.number]), "done", "in place of the two");
    client.send(encodeRequest({ verb: "take", name: "a" }));
    const { fds } = await client.receive();
    assertEquals(fds.length, 1);
    for (const fd of fds) fd.close();
  }),
);

Deno.test(
  "a name belongs to one connection until that ends; anyone may remove it",
  inPlace(async (place) => {
    using event = EventFd.create();
    using owner = place.client();
    using other = place.client();
    assertEquals(await owner.ask("put", "a", [event.number]), "done");
    assertEquals(await other.ask("take", "a"), "in use");
    assertEquals(await other.ask("put", "a", [event.number]), "in use");
    assertEquals(await owner.ask("take", "b"), "refused: this connection is for a");
    assertEquals(await other.ask("has", "a"), "done");
    assertEquals(await other.ask("remove", "a"), "done");
    assertEquals(await other.ask("remove", "a"), "nothing");
    assertEquals(await owner.ask("has", "a"), "nothing");
    owner.socket.close();
    // The server sees the end of one before it answers the other, or in a moment.
    let reply = "in use";
    while (reply === "in use") reply = await other.ask("take", "a");
    assertEquals(reply, "done");
  }),
);

Deno.test(
  "a client that sends a malformed request is disconnected, and nothing changes",
  inPlace(async (place) => {
    using event = EventFd.create();
    {
      using client = place.client();
      assertEquals(await client.ask("put", "a", [event.number]), "done");
    }
    const request = encodeRequest({ verb: "remove", name: "a" });
    const nonsense: Uint8Array<ArrayBuffer>[] = [
      new TextEncoder().encode('{"do":"forget","name":"a"}'),
      request.slice(0, 7),
      request.slice(0, -1),
      Uint8Array.from([...request, 0]),
      Uint8Array.from([...request, ...request]),
      request.with(0, 1),
      request.with(4, 9),
      request.with(7, 0xff),
      encodeReply({ verdict: "in use", text: "" }),
      new Uint8Array(100_000),
    ];
    for (const bytes of nonsense) {
      using client = place.client();
      client.socket.send(bytes, 0, bytes.length, [event.number]);
      try {
        assertEquals((await client.receive()).reply, "hung up", `${bytes.subarray(0, 12)}`);
      } catch (error) {
        assertEquals((error as { code: string }).code, "ECONNRESET"); // with bytes it did not read
      }
    }
    using client = place.client();
    assertEquals(await client.ask("has", "a"), "done");
  }),
);

Deno.test(
  "descriptors that are too many, too few, or not asked for are closed",
  inPlace(async (place) => {
    using event = EventFd.create();
    const many = Array<number>(MAX_DESCRIPTORS).fill(event.number);
    using client = place.client();
    assertEquals(await client.ask("put", "a", many), "done");
    assertEquals(await client.ask("put", "a"), "refused: no descriptors came with it");
    assertEquals(await client.ask("has", "a", many), "done");
    assertEquals(await client.ask("take", "a", many), "done");
    assertEquals(await client.ask("put", "a", [...many, event.number]), "hung up");
  }),
);

Deno.test(
  "the number of names is limited",
  inPlace(async (place) => {
    using event = EventFd.create();
    const putAs = async (name: string) => {
      using client = place.client();
      return await client.ask("put", name, [event.number]);
    };
    for (let i = 0; i < MAX_NAMES; i++) assertEquals(await putAs(`${i}`), "done");
    assertEquals(await putAs("another"), "refused: it holds 64 devices already");
    assertEquals(await putAs("0"), "done", "one that is held may be put anew");
    using client = place.client();
    assertEquals(await client.ask("remove", "0"), "done");
  }),
);

/** A client that is accepted: the kernel lets a handful wait, and no more. */
async function connected(place: Place): Promise<Client> {
  const client = place.client();
  await client.ask("has", "a");
  return client;
}

Deno.test(
  "idle connections are closed to make room for others",
  inPlace(async (place) => {
    using stack = new DisposableStack();
    using event = EventFd.create();
    const owner = stack.use(place.client());
    assertEquals(await owner.ask("put", "a", [event.number]), "done");
    const idle: Client[] = [];
    for (let i = 0; i < MAX_CLIENTS; i++) {
      idle.push(stack.use(await connected(place)));
    }
    assertEquals(await idle[0]!.receive(), { reply: "hung up", fds: [] });
    assertEquals(await idle.at(-1)!.ask("has", "a"), "done");
  }),
);

Deno.test(
  "a client that floods the store process is disconnected",
  inPlace(async (place) => {
    using client = place.client();
    using other = place.client();
    for (let second = 0; second < 3; second++) {
      place.ms += 1000;
      for (let i = 0; i < MAX_REQUESTS_A_SECOND; i++) {
        assertEquals(await client.ask("has", "a"), "nothing");
      }
    }
    assertEquals(await client.ask("has", "a"), "hung up");
    assertEquals(await other.ask("has", "a"), "nothing");
  }),
);

Deno.test("another user is not served", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create(Deno.uid()! + 1);
    using client = place.client();
    client.send(encodeRequest({ verb: "has", name: "a" }));
    try {
      assertEquals((await client.receive()).reply, "hung up");
    } catch (error) {
      assertEquals((error as { code: string }).code, "ECONNRESET");
    }
  });
});

/** A process of another user that connects, whatever the modes of file and folder. */
const INTRUDER = `
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.settimeout(10)
try:
  s.connect(sys.argv[1])
  s.sendall(bytes.fromhex(sys.argv[2]))
  print("received", s.recv(100))
except OSError as error: print(type(error).__name__)
`;

Deno.test(
  "a process of another user is not served, even where the socket lets it in",
  inPlace(async (place) => {
    if (Deno.uid() !== 0) return; // nobody else can be another user
    const hex = [...encodeRequest({ verb: "has", name: "a" })]
      .map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const intrude = async () => {
      const args = ["-c", INTRUDER, place.server.path, hex];
      await using intruder = Process.start("python3", args);
      await intruder.end();
      return intruder.report().split("\n").at(-1)!;
    };
    assertEquals(await intrude(), "PermissionError");
    Deno.chmodSync(place.folder.path, 0o711);
    assertEquals(await intrude(), "PermissionError", "the socket's mode");
    Deno.chmodSync(place.server.path, 0o666);
    const end = await intrude();
    assert(["received b''", "ConnectionResetError", "BrokenPipeError"].includes(end), end);
  }),
);

Deno.test("the store process's folder is accessible to its user only, whatever the umask", async () => {
  await using folder = await TempFolder.create();
  await using reactor = new Reactor();
  for (const umask of [0, 0o022, 0o777]) {
    const before = Deno.umask(umask);
    try {
      using server = new StoreServer(folder.file("store"), reactor);
      assertEquals(Deno.lstatSync(server.path).mode! & 0o7777, 0o600);
    } finally {
      Deno.umask(before);
    }
  }
  for (const mode of [0o770, 0o1777]) {
    Deno.chmodSync(folder.path, mode);
    const octal = mode.toString(8);
    assertThrows(() => new StoreServer(folder.file("store"), reactor), Error, `mode ${octal}`);
  }
});

/** Puts devices, one by each client, until one is refused. @returns the names held, and the last reply */
async function putMany(
  clients: readonly Client[],
  fds: readonly number[],
): Promise<{ names: string[]; reply: string }> {
  const names: string[] = [];
  let reply = "done";
  for (const [i, client] of clients.entries()) {
    reply = await client.ask("put", `${i}`, fds);
    if (reply !== "done") break;
    names.push(`${i}`);
  }
  return { names, reply };
}

Deno.test("a store process without a free descriptor keeps what it has, reports it, and works again when one is free", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    const path = folder.file("store");
    const limit = 64;
    await using process = violaBy(`ulimit -n ${limit}; exec "$@"`, ["store", path]);
    await process.until(() => socketsIn(folder.path).length > 0, "the store process");
    using event = EventFd.create();
    using stack = new DisposableStack();
    const connect = async () => {
      const client = stack.use(new Client(path, reactor));
      const reply = await client.ask("has", "none").catch(() => "hung up");
      return { client, reply };
    };
    const open = () => [...Deno.readDirSync(`/proc/${process.pid}/fd`)].length;

    // Filled by connections: those for whom there is none are told, not left to wait.
    let last = await connect();
    const connected = [last.client];
    while (last.reply === "nothing") connected.push((last = await connect()).client);
    assertEquals(last.reply, "exhausted: it has no descriptor left");
    assert(open() >= limit, `${open()}`);
    for (let i = 0; i < 20; i++) assertEquals((await connect()).reply, last.reply);

    // Filled by descriptors: what fits is held, the rest refused.
    for (const client of connected.splice(8)) client.socket.close();
    const many = Array<number>(MAX_DESCRIPTORS).fill(event.number);
    const { names, reply } = await putMany(connected, many);
    assert(names.length > 0 && names.length * MAX_DESCRIPTORS < limit, `${names}`);
    assertEquals(reply, "exhausted: it has no descriptor left");
    const [first, ...rest] = connected as [Client, ...Client[]];
    const refused = rest[names.length - 1]!;
    for (const name of names) assertEquals(await first.ask("has", name), "done");
    assertEquals(await first.ask("has", `${names.length}`), "nothing");

    assertEquals(await first.ask("remove", names[0]!), "done");
    assertEquals(await refused.ask("put", `${names.length}`, many), "done");
    assertEquals((await connect()).reply, "nothing");
    assertEquals(process.status, null);
  });
});
