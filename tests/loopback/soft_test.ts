// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  createMemory,
  EPOLLIN,
  EventFd,
  OsError,
  pageSize,
  PeerSignal,
  Reactor,
  signalEvent,
  takeEvent,
  UnixListener,
  UnixSocket,
  viewMemory,
} from "../../ffi/mod.ts";
import {
  canonicalName,
  checkLoopback,
  GUEST_BASE,
  openLoopback,
  ring,
  SharedPage,
  SoftGuestPort,
  SoftLoopback,
  SoftNode,
} from "../../lib/loopback/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder, until } from "../support/process.ts";

function ringOnce(bell: Parameters<typeof ring>[0]): void {
  using signal = PeerSignal.create();
  ring(bell, signal);
}

const MEMORY = 1 << 20;
const IDENTITY = { magic: 0x74726976, version: 2, deviceId: 4, vendor: 0x4c4f4956 };

/** Runs a test with a socket path and a reactor, and counts what it leaves. */
function softTest(name: string, body: (path: string, reactor: Reactor) => Promise<void>): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      await using reactor = new Reactor();
      await body(folder.file("node"), reactor);
    }));
}

Deno.test("a soft device has one name, from whatever folder and by whatever link", async () => {
  await using folder = await TempFolder.create();
  Deno.mkdirSync(folder.file("a"));
  Deno.symlinkSync(folder.file("a"), folder.file("link"));
  const before = Deno.cwd();
  try {
    Deno.chdir(folder.file("a"));
    const name = `soft:${Deno.cwd()}/node`;
    const ways = [
      "node",
      "./node",
      "../a/node",
      `${folder.path}//a/node`,
      folder.file("link/node"),
    ];
    for (const way of ways) assertEquals(canonicalName(`soft:${way}`), name);
    assertEquals(canonicalName(name), name);
    assertEquals(canonicalName("soft:none/x/../node"), `soft:${Deno.cwd()}/none/node`);
  } finally {
    Deno.chdir(before);
  }
  for (const name of ["/dev/loopback", "/dev/loopback-7", "/dev/null", "soft", ""]) {
    assertEquals(canonicalName(name), name);
  }
});

softTest("who opens a node shares its page, its memory and its bells", async (path, reactor) => {
  using node = new SoftNode(MEMORY);
  node.listen(path, reactor);
  checkLoopback(`soft:${path}`);
  using loopback = await openLoopback(`soft:${path}`, "isolated", reactor);
  assert(node.isOpen);
  const { port, shares } = loopback;
  assertEquals(port.name, `soft:${path}`);
  assertEquals(port.memory.map(({ guest, length }) => [guest, length]), [[GUEST_BASE, MEMORY]]);
  assertEquals(shares.map(({ guest, size, offset }) => [guest, size, offset]), [
    [GUEST_BASE, MEMORY, 0],
  ]);
  assertEquals([loopback.backEndLives, loopback.mappings, port.setsDone], [Infinity, 0, true]);
  using guest = new SoftGuestPort(node.wires, 10);
  new Uint8Array(viewMemory(port.memory[0]!))[MEMORY - 1] = 42;
  assertEquals(guest.memory.region(GUEST_BASE + MEMORY - 1, 1).u8[MEMORY - 1], 42);
  assertThrows(() => guest.read(0x70, 4), Error, "read register 0x70");
  assertEquals(takeEvent(port.doorbell), 1);
  const page = new SharedPage(viewMemory(port.page));
  assert(page.pending && page.isRead && page.offset === 0x70 && page.size === 4);
  page.answer(0x1234);
  page.finish();
  ringOnce(port.wakeup);
  assertEquals(takeEvent(node.wires.answer), 1);
  assertEquals(guest.waitInterrupt(0), false);
  ringOnce(port.interrupt);
  assertEquals(guest.waitInterrupt(0), true);
  assertEquals(guest.waitInterrupt(0), false);
});

softTest(
  "the driver waits for START_LOOPBACK, and finds what it announced",
  async (path, reactor) => {
    using node = new SoftNode(MEMORY);
    node.listen(path, reactor);
    using guest = new SoftGuestPort(node.wires);
    assertEquals(guest.waitStarted(0), null);
    using loopback = await SoftLoopback.open(path, reactor);
    signalEvent(node.wires.interrupt); // one that is no start
    assertEquals(guest.waitStarted(5), null);
    loopback.start(IDENTITY);
    assertEquals(guest.waitStarted(0), IDENTITY);
    assertEquals(guest.waitStarted(1000), IDENTITY);
  },
);

softTest("a second opener is told EBUSY, until the first has gone", async (path, reactor) => {
  using node = new SoftNode(MEMORY);
  node.listen(path, reactor);
  for (let i = 0; i < 3; i++) {
    using _first = await SoftLoopback.open(path, reactor);
    const error = await assertRejects(() => SoftLoopback.open(path, reactor), OsError);
    assertEquals(error.code, "EBUSY");
    assert(error.message.includes(`open soft:${path} (another adapter has it open)`));
    _first.close();
    await until(() => !node.isOpen, "the node to be free");
  }
});

softTest("an opener that says anything has had it", async (path, reactor) => {
  using node = new SoftNode(MEMORY);
  node.listen(path, reactor);
  using opener = UnixSocket.connect(path);
  await until(() => node.isOpen, "the node to be open");
  opener.send(Uint8Array.of(1), 0, 1);
  await until(() => !node.isOpen, "the node to be free");
  using _next = await SoftLoopback.open(path, reactor);
});

softTest(
  "a node that closes takes its socket along; what was opened stays",
  async (path, reactor) => {
    const node = new SoftNode(MEMORY);
    node.listen(path, reactor);
    using loopback = await SoftLoopback.open(path, reactor);
    node.close();
    node.close();
    assertThrows(() => Deno.lstatSync(path), Deno.errors.NotFound);
    new Uint8Array(viewMemory(loopback.port.memory[0]!))[0] = 1;
    ringOnce(loopback.port.interrupt);
    loopback.close();
    loopback.close();
  },
);

softTest("a node of this process is attached by its wires, as often as one likes", async () => {
  await Promise.resolve();
  const node = new SoftNode(MEMORY);
  using a = SoftLoopback.attach(node);
  using b = SoftLoopback.attach(node);
  node.close();
  ringOnce(a.port.interrupt);
  assertEquals(takeEvent(b.port.interrupt.fd), 1);
});

softTest(
  "an opened node is restored from what was kept of it, and from nothing else",
  async (path, reactor) => {
    using node = new SoftNode(MEMORY);
    node.listen(path, reactor);
    const first = await SoftLoopback.open(path, reactor);
    const fds = first.kept.map((number) => {
      using fd = new EventFd(number);
      const copy = fd.duplicate();
      fd.release();
      return copy;
    });
    first.close();
    assert(node.isOpen); // the connection is among them
    const few = fds.slice(0, 5);
    assertThrows(() => SoftLoopback.restore(path, few), OsError, "with 5 descriptors instead of 6");
    for (const [i, expected] of ["socket", "viola-page", "viola-memory"].entries()) {
      const swapped = fds.with(i, fds[i + 1]!).with(i + 1, fds[i]!);
      const message = `expected ${i === 0 ? "" : "/memfd:"}${expected}`;
      assertThrows(() => SoftLoopback.restore(path, swapped), OsError, message);
    }
    {
      using second = SoftLoopback.restore(path, fds)!;
      ringOnce(second.port.interrupt);
      assertEquals(takeEvent(node.wires.interrupt), 1);
    }
    assert(fds.every(({ closed }) => closed));
    await until(() => !node.isOpen, "the node to be free");
  },
);

// ---- what is no node ----

/** A hello as a node would send it, but for what is changed. */
function hello(changes: { magic?: number; errno?: number; base?: number; size?: number } = {}) {
  const { magic = 0x414c4956, errno = 0, base = GUEST_BASE, size = MEMORY } = changes;
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(0, magic, true);
  view.setUint32(4, errno, true);
  view.setFloat64(8, base, true);
  view.setFloat64(16, size, true);
  return new Uint8Array(view.buffer);
}

/** What a peer does with each connection; the stack ends with the test. */
type Act = (socket: UnixSocket, stack: DisposableStack) => void;

/** Descriptors as a node's, but for what is changed by place: page, memory, doorbell, answer, interrupt. */
function wires(stack: DisposableStack, changes: Record<number, EventFd | number> = {}): number[] {
  const sizes = [pageSize(), MEMORY];
  return Array.from({ length: 5 }, (_, i) => {
    const change = changes[i];
    if (typeof change === "object") return stack.use(change).number;
    const size = change ?? sizes[i];
    const name = i === 0 ? "viola-page" : "viola-memory";
    return stack.use(size === undefined ? EventFd.create() : createMemory(name, size)).number;
  });
}

const sends =
  (bytes: Uint8Array<ArrayBuffer>, changes?: Record<number, EventFd | number>): Act =>
  (socket, stack) => {
    socket.send(bytes, 0, bytes.length, changes === undefined ? [] : wires(stack, changes));
  };

const PEERS: Record<string, { act: Act; code: string; text: string }> = {
  "closes at once": {
    act: (socket) => socket.close(),
    code: "EPROTO",
    text: "not a soft loopback device",
  },
  "sends no reply": { act: () => {}, code: "EPROTO", text: "sends no reply" },
  "sends one byte": {
    act: sends(Uint8Array.of(0x56)),
    code: "EPROTO",
    text: "not a soft loopback",
  },
  "sends half a hello and closes": {
    act: (socket, stack) => {
      sends(hello().subarray(0, 12))(socket, stack);
      socket.close();
    },
    code: "EPROTO",
    text: "not a soft loopback device",
  },
  "is another protocol": {
    act: sends(hello({ magic: 1 }), {}),
    code: "EPROTO",
    text: "not a soft",
  },
  "refuses": { act: sends(hello({ errno: 13 })), code: "EACCES", text: "permission denied" },
  "sends no descriptors": {
    act: sends(hello()),
    code: "EPROTO",
    text: "with 1 descriptors instead of 6",
  },
  "sends too few descriptors": {
    act: (socket, stack) => {
      socket.send(hello(), 0, 24, wires(stack).slice(1));
    },
    code: "EPROTO",
    text: "with 5 descriptors instead of 6",
  },
  "sends too many descriptors": {
    act: (socket, stack) => {
      socket.send(hello(), 0, 24, [...wires(stack), ...wires(stack)]);
    },
    code: "EPROTO",
    text: "with 11 descriptors instead of 6",
  },
  "has a page of nothing": {
    act: sends(hello(), { 0: 0 }),
    code: "EPROTO",
    text: "with a page of 0 bytes",
  },
  "has less memory than it says": {
    act: sends(hello(), { 1: MEMORY / 2 }),
    code: "EPROTO",
    text: "bytes of memory at",
  },
  "has no memory": {
    act: sends(hello({ size: 0 }), { 1: 0 }),
    code: "EPROTO",
    text: "0 bytes of memory at",
  },
  "says NaN": {
    act: sends(hello({ size: NaN }), {}),
    code: "EPROTO",
    text: "NaN bytes of memory at",
  },
  "has its memory elsewhere": {
    act: sends(hello({ base: NaN }), {}),
    code: "EPROTO",
    text: "bytes of memory at NaN",
  },
  "has an eventfd for memory": {
    act: (socket, stack) => {
      const changes = { 1: EventFd.create() };
      socket.send(hello({ size: 0 }), 0, 24, wires(stack, changes));
    },
    code: "EPROTO",
    text: "with anon_inode:[eventfd], expected /memfd:viola-memory",
  },
};

for (const [name, { act, code, text }] of Object.entries(PEERS)) {
  softTest(`a peer that ${name} is refused in words`, async (path, reactor) => {
    using stack = new DisposableStack();
    const listener = stack.use(UnixListener.listen(path));
    stack.use(reactor.watch(listener.number, EPOLLIN, () => {
      const socket = listener.accept();
      if (socket !== null) act(stack.use(socket), stack);
    }));
    const open = () => SoftLoopback.open(path, reactor, 50);
    const error = await assertRejects(open, OsError, text);
    assertEquals(error.code, code);
    assert(error.message.startsWith(`Cannot open soft:${path}`), error.message);
  });
}

softTest("nobody there, and somebody who does not listen any more", async (path, reactor) => {
  for (const open of [() => SoftLoopback.open(path, reactor), () => checkAsync(path)]) {
    assertEquals((await assertRejects(open, OsError, path)).code, "ENOENT");
  }
  Deno.writeTextFileSync(path, "");
  assertEquals((await assertRejects(() => checkAsync(path), OsError, path)).code, "ENOTSOCK");
  const error = await assertRejects(() => SoftLoopback.open(path, reactor), OsError, path);
  assertEquals(error.code, "ECONNREFUSED");
});

// deno-lint-ignore require-await -- so that both ways fail alike
async function checkAsync(path: string): Promise<void> {
  checkLoopback(`soft:${path}`);
}
