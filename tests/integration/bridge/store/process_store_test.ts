// SPDX-License-Identifier: Apache-2.0
// viola's end of the store process: what is put is held until it is released, whatever becomes of the process.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import {
  EPOLLIN,
  EventFd,
  OsError,
  Reactor,
  UnixListener,
  type UnixSocket,
  type Watch,
} from "../../../../ffi/mod.ts";
import { ProcessStore } from "../../../../lib/bridge/store/process_store.ts";
import { encodeReply } from "../../../../lib/bridge/store/protocol.ts";
import { withoutLeaks } from "../../../support/leaks.ts";
import { Process, run, TempFolder, until } from "../../../support/process.ts";
import { LocalStore, OwnStore } from "../../../support/store.ts";

/** A client, and what listens where it looks: nobody, until it starts a store. */
class Place implements AsyncDisposable {
  readonly reactor = new Reactor();
  readonly local: LocalStore;
  readonly client: ProcessStore;
  /** What was reported of the device "a". */
  readonly reports: string[] = [];
  /** What the next starts fail with. */
  readonly failures: string[] = [];
  readonly event = EventFd.create();

  private constructor(readonly folder: TempFolder, uid?: number) {
    this.local = new LocalStore(this.path, this.reactor, () => {
      const failure = this.failures.shift();
      if (failure !== undefined) throw new Error(failure);
    });
    const options = { ...this.local.options, retryMs: 1, persistMs: 200, service: null };
    this.client = new ProcessStore(
      this.reactor,
      uid === undefined ? options : { ...options, uid },
    );
  }

  static async create(uid?: number): Promise<Place> {
    return new Place(await TempFolder.create(), uid);
  }

  get path(): string {
    return this.folder.file("store");
  }

  put(): Promise<void> {
    return this.client.put("a", [this.event.number], (text) => void this.reports.push(text));
  }

  /** How many descriptors another process would be given, by a connection of its own. */
  async held(): Promise<number> {
    const other = new ProcessStore(this.reactor, { ...this.local.options, persistMs: 0 });
    const fds = await other.take("a");
    for (const fd of fds) fd.close();
    await other.release("a");
    return fds.length;
  }

  /** Whether a store runs, and another process would be refused. */
  async isOurs(): Promise<boolean> {
    const refusal = await this.held().then(() => null, (error) => error as OsError);
    return refusal?.code === "EBUSY";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.local[Symbol.dispose]();
    await this.reactor.close();
    this.event.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

function inPlace(body: (place: Place) => Promise<void>): () => Promise<void> {
  return () =>
    withoutLeaks(async () => {
      await using place = await Place.create();
      await body(place);
    });
}

const HOLDER = `the store process ${Deno.pid} at `;

Deno.test(
  "a store process is started to store descriptors, not to look for some",
  inPlace(async ({ client, local, path }) => {
    assertEquals(await client.take("a"), []);
    assertEquals(await client.remove("a"), false);
    assertEquals(await client.release("a"), null);
    assertEquals(local.started.length, 0);
    await Promise.all([client.prepare(), client.prepare()]);
    assertEquals(local.started.map((server) => server.path), [path], "one for all");
    await client.prepare();
    assertEquals(local.started.length, 1);
    assertEquals(client.howToRemove("a"), '"viola forget a" releases it');
  }),
);

Deno.test(
  "stored descriptors are held until another process takes them",
  inPlace(async (place) => {
    const { client, path } = place;
    await place.put();
    await place.put(); // again is no harm
    assertEquals(await client.release("a"), HOLDER + path);
    assertEquals(await client.release("a"), null, "it is not ours any more");
    assertEquals(await place.held(), 1);
    const fds = await client.take("a");
    assertEquals(fds.length, 1);
    for (const fd of fds) fd.close();
    await client.put("a", [place.event.number, place.event.number], () => {});
    assertEquals(await client.release("a"), HOLDER + path);
    assertEquals(await place.held(), 2);
    assertEquals(place.reports, []);
  }),
);

Deno.test(
  "a process cannot take a device that another process uses",
  inPlace(async (place) => {
    await place.put();
    const error = await assertRejects(() => place.held(), OsError);
    assertEquals(error.code, "EBUSY");
    assertMatch(error.message, /^Cannot take a at .*store \(another viola serves it\): /);
  }),
);

Deno.test(
  "a store that ends is started again, and holds what it held",
  inPlace(async (place) => {
    const { local, client, path, reports } = place;
    await place.put();
    for (let round = 1; round <= 3; round++) {
      local.started.at(-1)!.close();
      await until(() => place.isOurs(), "another store");
      assertEquals(local.started.length, round + 1);
    }
    assertEquals(await client.release("a"), HOLDER + path);
    assertEquals(await place.held(), 1);
    assertEquals(
      reports,
      Array(3).fill(`the store process at ${path} ended; starting another to hold a`),
    );
  }),
);

Deno.test(
  "a store that ends when the device does is started again before the descriptors are closed",
  inPlace(async (place) => {
    const { local, client, path } = place;
    await place.put();
    local.started.at(-1)!.close();
    assertEquals(await client.release("a"), HOLDER + path);
    assertEquals(local.started.length, 2);
    assertEquals(await place.held(), 1);
  }),
);

Deno.test(
  "descriptors that the user removed are not stored again",
  inPlace(async (place) => {
    await place.put();
    const user = new ProcessStore(place.reactor, place.local.options);
    assertEquals(await user.remove("a"), true);
    assertEquals(await user.remove("a"), false);
    assertEquals(await place.client.release("a"), null);
    assertEquals(await place.held(), 0);
  }),
);

Deno.test(
  "a process may remove its own device's descriptors and keeps the right to store them",
  inPlace(async (place) => {
    await place.put();
    assertEquals(await place.client.remove("a"), true);
    assert(await place.isOurs());
    await place.put();
    assertEquals(await place.client.release("a"), HOLDER + place.path);
  }),
);

Deno.test(
  "descriptors that cannot be stored are reported once per reason, and stored later",
  inPlace(async (place) => {
    const { failures, reports, local } = place;
    failures.push("no memory", "no memory", "no memory", "no time");
    await place.put();
    assertEquals(reports, ["Cannot store the descriptors of a: no memory"], "one attempt");
    await until(() => local.started.length === 1, "a store");
    assertEquals(await place.client.release("a"), HOLDER + place.path);
    assertEquals(reports, [
      "Cannot store the descriptors of a: no memory",
      "Cannot store the descriptors of a: no time",
    ]);
    assertEquals(await place.held(), 1);
  }),
);

Deno.test(
  "at its release a device is stored once more if that failed before",
  inPlace(async (place) => {
    const { failures, client, local } = place;
    failures.push(...Array<string>(1000).fill("no memory"));
    await place.put();
    assertEquals(await client.release("a"), null);
    const left = failures.length;
    await new Promise((resolve) => setTimeout(resolve, 20)); // some retries' time
    assertEquals(failures.length, left);
    assertEquals(local.started.length, 0);
    await assertRejects(() => client.prepare(), Error, "no memory");
  }),
);

Deno.test(
  "in a service that systemd holds no descriptors of the user is told that the store process ends with it",
  inPlace(async ({ reactor, local, event, path }) => {
    const client = new ProcessStore(reactor, { ...local.options, service: "viola.service" });
    const reports: string[] = [];
    await client.put("a", [event.number], (text) => reports.push(text));
    assertEquals(reports, [
      "the store process that holds a ends with viola.service, of which systemd holds no descriptors " +
      "(FileDescriptorStoreMax=16 in its unit)",
    ]);
    assertEquals(await client.release("a"), HOLDER + path);
  }),
);

Deno.test("a store process is started from source and outlives its starter", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const path = folder.file("folder of viola's/store");
    using own = new OwnStore(path);
    const url = (name: string) => new URL(`../../../../${name}`, import.meta.url).href;
    const script = `
      import { EventFd, Reactor } from "${url("ffi/mod.ts")}";
      import { findStore } from "${url("lib/bridge/mod.ts")}";
      const reactor = new Reactor();
      const store = findStore(reactor, { path: ${JSON.stringify(path)} });
      await store.put("a", [EventFd.create().number], console.log);
      console.log(await store.release("a"));
      Deno.exit();`;
    const said = await run(Deno.execPath(), ["eval", script]);
    assertMatch(said, /^the store process \d+ at .*\n$/);
    await using reactor = new Reactor();
    const client = new ProcessStore(reactor, { path, start: () => {} });
    const fds = await client.take("a");
    assertEquals(fds.length, 1);
    for (const fd of fds) fd.close();
    client.close();
    assertEquals(own.signal("SIGTERM"), 1);
    await until(() => own.signal("SIGCONT") === 0, "its end");
  });
});

Deno.test("a path too long for a socket is refused at once", async () => {
  await using reactor = new Reactor();
  const path = `/tmp/${"x".repeat(103)}`;
  assertThrows(() => new ProcessStore(reactor, { path, start: () => {} }), RangeError, "108 bytes");
});

Deno.test("descriptors are not given to another user's store process", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create(Deno.uid()! + 1);
    place.local.options.start(place.path);
    const { client, reports } = place;
    for (const use of [() => client.prepare(), () => client.take("a"), () => client.remove("a")]) {
      const error = await assertRejects(use, OsError);
      assertEquals(error.code, "EPERM");
      const whose = `it is process ${Deno.pid} of user ${Deno.uid()}, expected user ${
        Deno.uid()! + 1
      }`;
      assert(error.message.includes(`store at ${place.path} (${whose})`), error.message);
    }
    await place.put();
    assertMatch(
      `${reports}`,
      /^Cannot store the descriptors of a: Cannot use the descriptor store at /,
    );
  });
});

/** A process that listens as another user, and tells what it is given. */
const IMPOSTOR = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])
os.setgid(65534); os.setuid(65534)
s.listen(4); print("listens", flush=True)
for _ in range(2):
  c, _ = s.accept(); c.settimeout(10); print("received", c.recv(100), flush=True)
`;

Deno.test(
  "descriptors are not given to another user's process at the store's socket",
  inPlace(async ({ client, path }) => {
    if (Deno.uid() !== 0) return; // nobody else can be another user
    await using impostor = Process.start("python3", ["-c", IMPOSTOR, path]);
    await impostor.until(() => impostor.stdout.includes("listens"), "the impostor");
    for (const use of [() => client.prepare(), () => client.take("a")]) {
      const error = await assertRejects(use, OsError, `of user 65534, expected user 0`);
      assertEquals(error.code, "EPERM");
    }
    await impostor.end();
    assertEquals(impostor.stdout, "listens\nreceived b''\nreceived b''\n");
  }),
);

/** Answers each request by what it likes. */
class Liar implements Disposable {
  readonly #listener: UnixListener;
  readonly #open: (UnixSocket | Watch)[] = [];

  constructor(path: string, { reactor, event }: Place, reply: Uint8Array<ArrayBuffer> | null) {
    this.#listener = UnixListener.listen(path);
    const accept = (): void => {
      const socket = this.#listener.accept()!;
      const answer = (): void => {
        const { length, fds } = socket.receive(new Uint8Array(1000), 0, 1000);
        for (const fd of fds) fd.close();
        if (length <= 0 || reply === null) return watch.close(), socket.close();
        socket.send(reply, 0, reply.length, [event.number, event.number]);
      };
      const watch = reactor.watch(socket.number, EPOLLIN, answer);
      this.#open.push(watch, socket);
    };
    this.#open.push(reactor.watch(this.#listener.number, EPOLLIN, accept));
  }

  [Symbol.dispose](): void {
    for (const one of this.#open) one.close();
    this.#listener.close();
  }
}

Deno.test(
  "malformed replies of a store process are refused, and their descriptors closed",
  inPlace(async (place) => {
    const { client, path } = place;
    const done = encodeReply({ verdict: "done", text: "" });
    const table: [Uint8Array<ArrayBuffer> | null, RegExp][] = [
      [done.slice(0, 7), /Cannot read a descriptor store's reply: 7 bytes/],
      [done.with(0, 0), /reply: magic 0x31534400, expected/],
      [done.with(4, 77), /reply: verdict 77, expected 0 to 4/],
      [Uint8Array.from([...done, ...done]), /reply: 16 bytes, expected 8 by its length/],
      [new Uint8Array(1000), /reply: magic 0x0/],
      [encodeReply({ verdict: "refused", text: "no" }), /take a at .* \(no\): protocol error/],
      [encodeReply({ verdict: "in use", text: "" }), /\(another viola serves it\).* \(EBUSY\)/],
      [null, /take a at .*store \(it closed the connection\): connection reset by peer/],
    ];
    for (const [reply, reason] of table) {
      using _liar = new Liar(path, place, reply);
      const error = await assertRejects(() => client.take("a"), Error);
      assertMatch(error.message, reason);
    }
    using _liar = new Liar(path, place, done);
    await place.put(); // two descriptors come with its reply
    assertEquals(await client.remove("a"), true);
    assertEquals(await client.release("a"), HOLDER + path);
    assertEquals(place.reports, []);
  }),
);
