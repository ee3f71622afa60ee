// SPDX-License-Identifier: Apache-2.0
// A device is restored from what a descriptor store holds; if that is not what it should be, viola says why and what to do.
import { assert, assertEquals, assertMatch, fail } from "@std/assert";
import {
  createMemory,
  EventFd,
  Fd,
  Mapping,
  Reactor,
  UnixSocket,
  viewMemory,
} from "../../../ffi/mod.ts";
import { Bridge, type BridgeEvent, findStore } from "../../../lib/bridge/mod.ts";
import { decodeReply, encodeRequest, MAX_MESSAGE } from "../../../lib/bridge/store/protocol.ts";
import { startGuest } from "../../../lib/guest/mod.ts";
import { rng } from "../../../lib/classes/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { DeviceState } from "../../../lib/virtio/state.ts";
import { MainState } from "../../../lib/virtio/state_writers.ts";
import { assertFails, facts, reported, viola } from "../cli/viola.ts";
import { LocalStore, OwnStore } from "../../support/store.ts";
import { socketsIn, withoutLeaks } from "../../support/leaks.ts";
import { type Process, TempFolder, until } from "../../support/process.ts";
import { ServiceManager, type ServiceManagerOptions } from "../../support/service_manager.ts";
import { Filler } from "./back_ends.ts";
import { DeviceProcess } from "./device_process.ts";

const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;
/** The state, and what a soft node consists of. */
const KEPT = 7;

/** A soft node, a source of entropy, and a service manager with a store. */
class Place implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: TempFolder,
    readonly reactor: Reactor,
    readonly manager: ServiceManager,
    public node: SoftNode,
  ) {}

  static async create(options?: ServiceManagerOptions): Promise<Place> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const manager = stack.use(await ServiceManager.create(folder, options));
    stack.use(DeviceProcess.start(["rng", "--socket", folder.file("card")]));
    const place = new Place(folder, reactor, manager, new SoftNode());
    place.node.listen(folder.file("node"), reactor);
    place.#stack.use(stack.move());
    return place;
  }

  get name(): string {
    return `soft:${this.folder.file("node")}`;
  }

  get args(): string[] {
    const { folder, name } = this;
    return [
      "attach",
      "rng",
      "--socket",
      folder.file("card"),
      "--loopback",
      name,
      "--keep",
      "--json",
      "--mmio-version",
      "1",
    ];
  }

  /** Runs viola as the manager's service. */
  start(
    args = this.args,
    options: { env?: Record<string, string>; fds?: Fd[] } = {},
  ): Promise<Process> {
    const run = ["run", "-A", "--no-prompt", "--no-check", MAIN, ...args];
    return this.manager.start(Deno.execPath(), run, options);
  }

  /** Has a device kept by the manager, its viola killed. */
  async leave(kept = KEPT): Promise<void> {
    await using first = await this.start();
    await reported(first, "started");
    await this.manager.keeps(kept);
    await first.stop("SIGKILL");
  }

  /** Runs one that must not go on from what is kept. */
  async assertRefused(
    reason: RegExp,
    options: { env?: Record<string, string>; fds?: Fd[] } = {},
  ): Promise<void> {
    await using second = await this.start(this.args, options);
    await assertFails(second, 2, reason);
    assertEquals(second.stderr.trimEnd().split("\n").length, 1, second.report());
    const served = ["restored", "started"];
    assert(!facts(second).some(({ event }) => served.includes(`${event}`)), second.report());
  }

  /** Runs one that goes on, with a driver that reads. */
  async assertRestored(options: { env?: Record<string, string>; fds?: Fd[] } = {}): Promise<void> {
    await using second = await this.start(this.args, options);
    await reported(second, "restored");
    await using guest = await startGuest(rng, this.node.wires);
    await guest.probe();
    assertEquals((await guest.call("readEntropy", 64)).length, 64);
    await second.stop("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.node.close();
    await this.#stack.disposeAsync();
  }
}

/** A copy of a state, changed. */
function changed(
  fd: Fd,
  bytes: number,
  change: (words: Uint32Array, memory: ArrayBuffer) => void,
): Fd {
  using from = Mapping.create(fd, fd.size());
  const copy = createMemory("viola-state-test", bytes);
  using to = Mapping.create(copy, bytes);
  const memory = viewMemory(to);
  new Uint8Array(memory).set(new Uint8Array(viewMemory(from)).subarray(0, bytes));
  change(new Uint32Array(memory), memory);
  return copy;
}

/** A state whose words from byte `at` on are these. */
function written(at: number, ...values: number[]): (fds: Fd[]) => Fd[] {
  return ([state, ...rest]) => [
    changed(state!, state!.size(), (words) => words.set(values, at / 4)),
    ...rest,
  ];
}

/** The state of another device, whole in itself. */
function ofAnother(name: string, deviceId: number, queues: number): (fds: Fd[]) => Fd[] {
  return ([state, ...rest]) => {
    const options = { name, deviceId, vendorId: 1, mmioVersion: 1, deviceFeatures: 0n } as const;
    const queueSizes = new Array<number>(queues).fill(64);
    const config = new Uint8Array();
    const bytes = DeviceState.sizeFor(queues, 64);
    return [
      changed(state!, bytes, (_, memory) => {
        MainState.create(memory, { ...options, queueSizes, config });
      }),
      ...rest,
    ];
  };
}

/** What becomes of the descriptors, and what is said of them. */
const DAMAGE: [what: string, change: (fds: Fd[], name: string) => Fd[], reason: RegExp][] = [
  ["no magic", written(0, 0), /magic 0x0, expected 0x6c6f6976/],
  ["a newer viola's layout", written(4, 3), /layout 3, expected 2/],
  ["an older viola's layout", written(4, 1), /layout 1, expected 2/],
  [
    "the first page only",
    ([state, ...rest]) => [changed(state!, 1900, () => {}), ...rest],
    /1900 bytes of memory, expected more/,
  ],
  [
    "an end cut off",
    ([state, ...rest]) => [changed(state!, state!.size() - 4, () => {}), ...rest],
    /\d+ bytes of memory, expected \d+/,
  ],
  ["no bytes", ([_, ...rest]) => [createMemory("viola-state-test", 0), ...rest], /EINVAL/],
  [
    "another class's device",
    (fds, name) => ofAnother(name, 25, 1)(fds),
    /device id, queues and version are 25, 1, 1, expected 4, 1, 1/,
  ],
  ["more queues", (fds, name) => ofAnother(name, 4, 2)(fds), /are 4, 2, 1, expected 4, 1, 1/],
  [
    "another node's device",
    ofAnother("soft:/tmp/another", 4, 1),
    /it is the state of another node/,
  ],
  ["registers of version 2", written(24, 2), /are 4, 1, 2, expected 4, 1, 1/],
  ["registers of version 3", written(24, 3), /virtio-mmio version 3/],
  ["a status of two bytes", written(64, 0x10f), /status 0x10f, expected one byte/],
  ["a queue longer than can be", written(1920, 128), /queue 0 has largest size 128/],
  [
    "a ready queue of 3 entries",
    written(1920 + 4, 3, 4096, 1),
    /queue 0 has size 3, expected a power of 2/,
  ],
  ["no state", (fds) => fds.slice(1), /the state is socket:.*, expected a memory file/],
  ["no node", (fds) => fds.slice(0, 1), /with 0 descriptors instead of 6/],
  ["half a node", (fds) => fds.slice(0, 4), /with 3 descriptors instead of 6/],
  ["more than a node", (fds) => [...fds, EventFd.create()], /with 7 descriptors instead of 6/],
  [
    "a bell for the state",
    (fds) => fds.with(0, fds[4]!),
    /the state is anon_inode:\[eventfd\], expected a memory file/,
  ],
  [
    "page and memory exchanged",
    (fds) => fds.with(2, fds[3]!).with(3, fds[2]!),
    /expected \/memfd:viola-page… as number 2/,
  ],
];

Deno.test("what a store process or systemd held is refused with a reason when it is malformed, and nothing hangs", async (t) => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    const { manager, name, reactor, folder } = place;
    await place.leave();
    const whole = manager.stored.toSorted((a, b) => a.name < b.name ? -1 : 1);
    const device = whole[0]!.name.replace(/^viola-1of7-/, "");
    using store = new OwnStore(folder.file("store"));
    await using _process = viola(["store", store.path]);
    await until(() => socketsIn(folder.path).includes("store"), "the store process");
    const client = findStore(reactor, { path: store.path });

    for (const [what, change, reason] of DAMAGE) {
      using copies = new DisposableStack();
      const fds = change(whole.map(({ fd }) => copies.use(fd.duplicate())), name);
      for (const fd of fds) copies.use(fd);
      const message = (end: string) =>
        new RegExp(
          `^viola: Cannot restore ${name}: what the descriptor store holds of it is not valid: .*${reason.source}.* \\(${end}\\)$`,
          "m",
        );
      await t.step(`${what}, from systemd`, async () => {
        const LISTEN_FDNAMES = fds.map((_, i) => `viola-${i + 1}of${fds.length}-${device}`).join(
          ":",
        );
        const options = { env: { LISTEN_FDNAMES }, fds };
        await place.assertRefused(
          message("systemd releases it when the service is stopped"),
          options,
        );
      });
      await t.step(`${what}, from a store process`, async () => {
        await client.put(name, fds.map(({ number }) => number), fail);
        assertMatch(`${await client.release(name)}`, /^the store process \d+ at /);
        await using second = viola(place.args, { env: store.env });
        await assertFails(second, 2, message(`"viola forget ${name}" releases it`));
        assertEquals(second.stderr.trimEnd().split("\n").length, 1, second.report());
      });
    }
    // Nothing of all that has touched the device.
    await place.assertRestored();
  });
});

Deno.test("what systemd passes is taken as it says, or not at all", async (t) => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    const { manager } = place;
    await place.leave();
    const fds = manager.stored.map(({ fd }) => fd);
    const names = manager.stored.map(({ name }) => name);
    const LISTEN_FDNAMES = names.join(":");
    const busy = /EBUSY/;
    await t.step(
      "for another process: not at all",
      () => place.assertRefused(busy, { env: { LISTEN_PID: `${Deno.pid}` } }),
    );
    await t.step(
      "for no process: not at all",
      () => place.assertRefused(busy, { env: { LISTEN_PID: "" } }),
    );
    await t.step(
      "without names: not at all",
      () => place.assertRefused(busy, { env: { LISTEN_FDNAMES: "" } }),
    );
    await t.step(
      "under others' names: not at all",
      () => place.assertRefused(busy, { env: { LISTEN_FDNAMES: names.fill("stored").join(":") } }),
    );
    await t.step(
      "a count that is none: not at all",
      () => place.assertRefused(busy, { env: { LISTEN_FDS: "some" } }),
    );
    await t.step(
      "fewer names than descriptors",
      () =>
        place.assertRefused(/systemd held 4of7, 5of7, 6of7, 7of7, expected all/, {
          env: { LISTEN_FDNAMES: LISTEN_FDNAMES.split(":").slice(0, 4).join(":") },
        }),
    );
    await t.step(
      "fewer descriptors than names",
      () =>
        place.assertRefused(/systemd held 6of7, 7of7, expected all/, {
          env: { LISTEN_FDS: "7", LISTEN_FDNAMES },
          fds: fds.slice(0, 2),
        }),
    );
    await t.step(
      "one of them twice",
      () =>
        place.assertRefused(
          /systemd held 1of7, 2of7, 3of7, 4of7, 5of7, 6of7, 7of7, 7of7, expected all/,
          {
            env: { LISTEN_FDNAMES: `${LISTEN_FDNAMES}:${LISTEN_FDNAMES.split(":")[0]}` },
            fds: [...fds, fds[0]!],
          },
        ),
    );
    await t.step("among others that are not viola's: they stay as they are", async () => {
      using other = EventFd.create();
      using socket = UnixSocket.datagram(manager.address);
      const all = [other, ...fds, socket];
      await using second = await place.start(place.args, {
        env: { LISTEN_FDNAMES: `other:${LISTEN_FDNAMES}:connection` },
        fds: all,
      });
      await reported(second, "restored");
      const left = all.map((_, i) => linkOf(second, 3 + i));
      assertEquals(left[0], "anon_inode:[eventfd]");
      assertMatch(left.at(-1)!, /^socket:/);
    });
    await place.assertRestored();
  });
});

function linkOf({ pid }: Process, fd: number): string {
  try {
    return Deno.readLinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return "";
  }
}

Deno.test("a store with too little room is told of where systemd says how much there is, else by the next viola", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create({ most: 3, saysMost: true });
    await using first = await place.start();
    await reported(first, "started");
    await first.until(() => facts(first).some(({ event }) => event === "error"), "the report");
    const told = facts(first).find(({ event }) => event === "error");
    assertEquals(
      told!.text,
      `Cannot store the descriptors of ${place.name}: systemd holds 3 descriptors of this service ` +
        "at most, expected 7 or more (FileDescriptorStoreMax= in its unit)",
    );
    assertEquals(place.manager.stored, []);
  });
  await withoutLeaks(async () => {
    await using place = await Place.create({ most: 3 });
    await place.leave(3);
    await place.assertRefused(
      /of its descriptors systemd held 1of7, 2of7, 3of7, expected all \(raise FileDescriptorStoreMax=/,
    );
  });
});

Deno.test("what systemd held of a node that has ended is let go of, and the next node is held", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    await place.leave();
    const { manager } = place;
    const old = manager.stored.map(({ fd }) => fd);
    place.node.close();
    place.node = new SoftNode();
    place.node.listen(place.folder.file("node"), place.reactor);
    await using second = await place.start();
    await reported(second, "started");
    await until(() => old.every(({ closed }) => closed), "the old ones' end");
    await manager.keeps(KEPT);
    assert(!facts(second).some(({ event }) => event === "restored"));
    assertEquals(manager.refused, []);
  });
});

Deno.test("viola forget has systemd let go of a device", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    await place.leave();
    const forget = ["forget", place.name, "--json"];
    for (const kept of [true, false]) {
      await using process = await place.start(forget);
      assertEquals((await process.end()).code, 0, process.report());
      assertEquals(facts(process), [{ event: "forgotten", node: place.name, kept }]);
      await place.manager.keeps(0);
    }
    await until(() => !place.node.isOpen, "the node to be free");
    assertEquals(place.manager.refused, []);
  });
});

Deno.test("a store process that is killed is missed at once, and another holds the device", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    using store = new OwnStore(place.folder.file("store"));
    const start = () => viola(place.args, { env: store.env });
    for (const isRestored of [false, true]) {
      await using first = start();
      await reported(first, isRestored ? "restored" : "started");
      assertEquals(store.signal("SIGKILL"), 1);
      const text =
        `the store process at ${store.path} ended; starting another to hold ${place.name}`;
      await reported(first, "error", (fact) => fact.text === text);
      await until(() => store.signal("SIGCONT") === 1, "another store process");
      await isHeld(place, store);
      const told = facts(first).filter((fact) => fact.text === text);
      assertEquals(told.length, 1, first.report());
      await first.stop("SIGKILL");
    }
    await using last = start();
    await reported(last, "restored");
    await using guest = await startGuest(rng, place.node.wires);
    await guest.probe();
    assertEquals((await guest.call("readEntropy", 64)).length, 64);
  });
});

Deno.test("a store process that ends at any moment of a viola's start is replaced", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    using node = new SoftNode();
    node.listen(folder.file("node"), reactor);
    using _back = new Filler(reactor, folder.file("card"));
    using store = new LocalStore(folder.file("store"), reactor);
    const { started, options } = store;
    for (const ms of [null, 0, 1, 2, 5, 10, 20, 50]) {
      const events: BridgeEvent[] = [];
      const onEvent = (event: BridgeEvent) => void events.push(event);
      await using bridge = await Bridge.start({ store: options, onEvent });
      bridge.add({
        class: rng,
        socket: folder.file("card"),
        loopback: `soft:${folder.file("node")}`,
        keep: true,
        memory: "isolated",
        mmioVersion: 1,
        priority: 0,
        lane: "lane",
      });
      const before = started.length;
      if (ms !== null) {
        await new Promise((resolve) => setTimeout(resolve, ms));
        started.at(-1)!.close();
      }
      await until(() => started.length > before, `another, the last one ended after ${ms} ms`);
      await until(() => events.some(({ kind }) => kind === "connected"), "the back-end");
    }
  });
});

/** Waits until a store process has a device that another viola serves: then it says so. */
async function isHeld({ name, reactor }: Place, store: OwnStore): Promise<void> {
  const ask = async () => {
    try {
      using socket = UnixSocket.connect(store.path);
      const request = encodeRequest({ verb: "take", name });
      socket.send(request, 0, request.length);
      await reactor.readable(socket, 1000);
      const buffer = new Uint8Array(MAX_MESSAGE);
      const { length, fds } = socket.receive(buffer, 0, buffer.length);
      for (const fd of fds) fd.close();
      return decodeReply(buffer.subarray(0, length)).verdict === "in use";
    } catch {
      return false;
    }
  };
  await until(ask, "the device to be held");
}

Deno.test("a store process whose path is too long for a socket is refused in one line, before anything begins", async () => {
  const path = `/tmp/${"k".repeat(103)}`;
  const env = { VIOLA_STORE: path };
  const message = new RegExp(
    `^viola: Cannot use ${path} for the descriptor store: the path has 108 bytes, expected at most 107 \\(set a shorter one with VIOLA_STORE`,
    "m",
  );
  await using folder = await TempFolder.create();
  using node = new SoftNode();
  await using reactor = new Reactor();
  node.listen(folder.file("node"), reactor);
  const name = `soft:${folder.file("node")}`;
  const commands = [
    ["attach", "rng", "--socket", folder.file("none"), "--loopback", name, "--keep"],
    ["forget", name],
  ];
  for (const args of commands) {
    await using process = viola(args, { env });
    await assertFails(process, 1, message);
    assertEquals(process.stderr.split("\n").length, 2, process.report());
  }
});
