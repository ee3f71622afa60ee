// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  EventFd,
  Fd,
  MAX_FDS,
  OsError,
  signalEvent,
  takeEvent,
  UnixListener,
  UnixSocket,
  WOULD_BLOCK,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder } from "../support/process.ts";

const BYTES = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

function pair(stack: DisposableStack): [UnixSocket, UnixSocket] {
  const [a, b] = UnixSocket.pair();
  return [stack.use(a), stack.use(b)];
}

/** So many eventfds, all one and the same. */
function many(event: EventFd, count: number): number[] {
  return Array(count).fill(event.number);
}

Deno.test("bytes arrive as they were sent, in pieces of the requested size", () => {
  using stack = new DisposableStack();
  const [a, b] = pair(stack);
  const into = new Uint8Array(8);
  assertEquals(b.receive(into, 0, 8), { length: WOULD_BLOCK, fds: [] });
  assertEquals(a.send(BYTES, 2, 5), 5);
  assertEquals(b.receive(into, 1, 2).length, 2);
  assertEquals(b.receive(into, 3, 5).length, 3);
  assertEquals([...into], [0, 3, 4, 5, 6, 7, 0, 0]);
  for (const [offset, length] of [[0, 9], [9, 0], [-1, 1]] as const) {
    assertThrows(() => a.send(BYTES, offset, length), RangeError, "buffer of 8");
    assertThrows(() => b.receive(into, offset, length), RangeError, "buffer of 8");
  }
});

Deno.test("the peer's name is known at both ends", async () => {
  await using folder = await TempFolder.create();
  using listener = UnixListener.listen(folder.file("socket"));
  using client = UnixSocket.connect(folder.file("socket"));
  using server = listener.accept()!;
  const self = { pid: Deno.pid, uid: Deno.uid() };
  assertEquals([client.peer(), server.peer()], [self, self]);
});

Deno.test("descriptors come with the first byte of the message they were sent with", async () => {
  await withoutLeaks(() => {
    using stack = new DisposableStack();
    const [a, b] = pair(stack);
    using event = EventFd.create();
    a.send(BYTES, 0, 2);
    a.send(BYTES, 2, 4, [event.number]);
    a.send(BYTES, 6, 2);
    const into = new Uint8Array(8);
    assertEquals(b.receive(into, 0, 2), { length: 2, fds: [] });
    const { length, fds } = b.receive(into, 0, 1);
    assertEquals([length, fds.length], [1, 1]);
    using received = fds[0]!;
    signalEvent(received.number);
    assertEquals(takeEvent(event.number), 1);
    assertEquals(b.receive(into, 0, 8), { length: 5, fds: [] });
  });
});

Deno.test("a sent descriptor stays open when its sender closes it, and is closed if it is not received", async () => {
  await withoutLeaks(() => {
    using stack = new DisposableStack();
    const [a, b] = pair(stack);
    const event = EventFd.create(9);
    a.send(BYTES, 0, 1, [event.number]);
    event.close();
    using received = b.receive(new Uint8Array(1), 0, 1).fds[0]!;
    assertEquals(takeEvent(received.number), 9);
    a.send(BYTES, 0, 1, [received.number]);
  });
});

Deno.test("surplus descriptors are all closed, with an error", async () => {
  await withoutLeaks(() => {
    using stack = new DisposableStack();
    const [a, b] = pair(stack);
    using event = EventFd.create();
    const into = new Uint8Array(8);
    for (const [sent, wanted] of [[1, 0], [3, 2], [MAX_FDS, MAX_FDS - 1]] as const) {
      a.send(BYTES, 0, 1, many(event, sent));
      const error = assertThrows(() => b.receive(into, 0, 8, wanted), OsError, "receive");
      assertEquals(error.code, "EMSGSIZE");
    }
    a.send(BYTES, 0, 1, many(event, MAX_FDS));
    const { fds } = b.receive(into, 0, 8, 1000); // more than there can be is as many as there can be
    assertEquals(fds.length, MAX_FDS);
    for (const fd of fds) fd.close();
  });
});

Deno.test("more descriptors than a message carries are refused before anything is sent", () => {
  using stack = new DisposableStack();
  const [a, b] = pair(stack);
  using event = EventFd.create();
  const tooMany = many(event, MAX_FDS + 1);
  assertEquals(assertThrows(() => a.send(BYTES, 0, 1, tooMany), OsError).code, "EINVAL");
  assertEquals(assertThrows(() => a.send(BYTES, 0, 1, [-1]), OsError).code, "EBADF");
  assertEquals(b.receive(new Uint8Array(8), 0, 8).length, WOULD_BLOCK);
});

Deno.test("a full socket takes what fits, then nothing, and never waits", () => {
  using stack = new DisposableStack();
  const [a, b] = pair(stack);
  const bytes = new Uint8Array(2 ** 20);
  let sent = 0;
  for (let n = 1; n > 0; sent += n) n = a.send(bytes, 0, bytes.length);
  let received = 0;
  for (let n = 1; n > 0; received += Math.max(n, 0)) n = b.receive(bytes, 0, bytes.length).length;
  assert(sent > 0);
  assertEquals(received, sent);
});

Deno.test("the end of the other side: 0 bytes, then an error without a signal", () => {
  using stack = new DisposableStack();
  const [a, b] = pair(stack);
  a.send(BYTES, 0, 3);
  a.close();
  const into = new Uint8Array(8);
  assertEquals(b.receive(into, 0, 8).length, 3);
  assertEquals(b.receive(into, 0, 8).length, 0);
  assertEquals(assertThrows(() => b.send(BYTES, 0, 1), OsError, "send").code, "EPIPE");
});

Deno.test("a listener removes its file when it closes; the file of a killed one is replaced", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("socket");
  await withoutLeaks(() => {
    assertEquals(assertThrows(() => UnixSocket.connect(path), OsError, path).code, "ENOENT");
    const killed = UnixListener.listen(path);
    using left = killed.duplicate(); // its file outlives it like a killed process's
    Deno.renameSync(path, `${path}2`);
    killed.close();
    left.close();
    Deno.renameSync(`${path}2`, path);
    assertEquals(assertThrows(() => UnixSocket.connect(path), OsError, path).code, "ECONNREFUSED");
    {
      using listener = UnixListener.listen(path);
      assertEquals(listener.accept(), null);
      using client = UnixSocket.connect(path);
      using server = listener.accept()!;
      client.send(BYTES, 0, 1);
      assertEquals(server.receive(new Uint8Array(8), 0, 8).length, 1);
      const error = assertThrows(() => UnixListener.listen(path), OsError, `listen on ${path}`);
      assertEquals(error.code, "EADDRINUSE");
      listener.accept()?.close(); // what looked whether anybody listens
    }
    assertThrows(() => Deno.lstatSync(path), Deno.errors.NotFound);
  });
});

Deno.test("a listener's file has mode 600, whatever the umask, which stays what it is", async () => {
  await using folder = await TempFolder.create();
  for (const umask of [0, 0o022, 0o077, 0o277, 0o777]) {
    const before = Deno.umask(umask);
    try {
      using _listener = UnixListener.listen(folder.file("socket"));
      const { mode } = Deno.lstatSync(folder.file("socket"));
      assertEquals((mode! & 0o7777).toString(8), "600", `umask ${umask.toString(8)}`);
      assertEquals(Deno.umask(), umask);
    } finally {
      Deno.umask(before);
    }
  }
});

Deno.test("of several that replace a stale socket at once one succeeds", async () => {
  await using folder = await TempFolder.create();
  const ROUNDS = 200;
  const url = new URL("./listen_worker.ts", import.meta.url);
  const words = new SharedArrayBuffer(8);
  const workers = Array.from({ length: 3 }, () => new Worker(url, { type: "module" }));
  const told = (): Promise<boolean[]> =>
    Promise.all(workers.map((worker) => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      worker.onmessage = ({ data }) => resolve(data);
      return promise;
    }));
  const ready = told();
  for (const worker of workers) worker.postMessage({ words, path: folder.file("socket") });
  await ready;
  for (let round = 1; round <= ROUNDS; round++) {
    leaveStale(folder.file("socket"));
    const results = told();
    Atomics.store(new Int32Array(words), 0, round);
    Atomics.notify(new Int32Array(words), 0);
    assertEquals((await results).filter((listens) => listens).length, 1, `round ${round}`);
    UnixSocket.connect(folder.file("socket")).close();
  }
  for (const worker of workers) worker.terminate();
});

/** A socket's file as a killed process leaves it. */
function leaveStale(path: string): void {
  const killed = UnixListener.listen(`${path}2`);
  Deno.renameSync(`${path}2`, path);
  killed.close();
}

Deno.test("a lock on the folder does not keep a listener waiting", async () => {
  await using folder = await TempFolder.create();
  using lock = Deno.openSync(folder.path);
  lock.lockSync(true);
  using _listener = UnixListener.listen(folder.file("socket"));
  UnixSocket.connect(folder.file("socket")).close();
});

Deno.test("a listener leaves a file alone that is no socket", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("file");
  Deno.writeTextFileSync(path, "precious");
  assertEquals(assertThrows(() => UnixListener.listen(path), OsError, path).code, "EADDRINUSE");
  assertEquals(Deno.readTextFileSync(path), "precious");
});

Deno.test("a path has 107 bytes at most", async () => {
  await using folder = await TempFolder.create();
  const fill = (length: number) => folder.file("x".repeat(length - folder.path.length - 1));
  using _listener = UnixListener.listen(fill(107));
  UnixSocket.connect(fill(107)).close();
  for (const open of [UnixListener.listen, UnixSocket.connect]) {
    assertEquals(assertThrows(() => open(fill(108)), OsError).code, "ENAMETOOLONG");
  }
});

Deno.test("a listening socket that somebody else made is used, and left as it is", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("socket");
  await withoutLeaks(() => {
    using maker = UnixListener.listen(path);
    {
      using listener = UnixListener.at(`fd:${maker.duplicate().release()}`);
      using client = UnixSocket.connect(path);
      using server = listener.accept()!;
      assertEquals(client.send(BYTES, 0, 8), 8);
      assertEquals(server.receive(new Uint8Array(8), 0, 8).length, 8);
    }
    assert(Deno.lstatSync(path).isSocket, "the file is its maker's");
    using client = UnixSocket.connect(path);
    using server = maker.accept()!;
    assertEquals(server.send(BYTES, 0, 8) + client.receive(new Uint8Array(8), 0, 8).length, 16);
  });
});

Deno.test("what is no listening socket is not listened at", async () => {
  await withoutLeaks(() => {
    using stack = new DisposableStack();
    const [connected] = pair(stack);
    const event = stack.use(EventFd.create());
    const closed = event.duplicate().release();
    new Fd(closed).close();
    const table: [number, string][] = [
      [connected.number, "EINVAL"],
      [event.number, "ENOTSOCK"],
      [closed, "EBADF"],
    ];
    for (const [number, code] of table) {
      const error = assertThrows(() => UnixListener.at(`fd:${number}`), OsError);
      assertEquals(error.code, code);
    }
    assertEquals(connected.closed, false);
  });
});
