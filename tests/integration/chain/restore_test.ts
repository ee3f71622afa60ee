// SPDX-License-Identifier: Apache-2.0
// A device is restored from what a descriptor store holds; if that is not what it should be, viola says why and what to do.
import { assertEquals, assertMatch, fail } from "@std/assert";
import { createMemory, EventFd, Fd, Mapping, UnixSocket, viewMemory } from "../../../ffi/mod.ts";
import { findStore } from "../../../lib/bridge/mod.ts";
import { DeviceState } from "../../../lib/virtio/state.ts";
import { MainState } from "../../../lib/virtio/state_writers.ts";
import { assertFails, reported, viola } from "../cli/viola.ts";
import { OwnStore } from "../../support/store.ts";
import { socketsIn, withoutLeaks } from "../../support/leaks.ts";
import { type Process, until } from "../../support/process.ts";
import { Place } from "./restore_fixture.ts";

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

/** Descriptors from systemd that cannot be used, by the environment that it gives a service. */
function misused(
  fds: Fd[],
  names: readonly string[],
): [name: string, reason: RegExp, options: Parameters<Place["assertRefused"]>[1]][] {
  const busy = /EBUSY/;
  const all = names.join(":");
  const others = names.map(() => "stored").join(":");
  const twice = /systemd held 1of7, 2of7, 3of7, 4of7, 5of7, 6of7, 7of7, 7of7, expected all/;
  return [
    ["for another process: not at all", busy, { env: { LISTEN_PID: `${Deno.pid}` } }],
    ["for no process: not at all", busy, { env: { LISTEN_PID: "" } }],
    ["without names: not at all", busy, { env: { LISTEN_FDNAMES: "" } }],
    ["under others' names: not at all", busy, { env: { LISTEN_FDNAMES: others } }],
    ["a count that is no number: not at all", busy, { env: { LISTEN_FDS: "some" } }],
    ["fewer names than descriptors", /systemd held 4of7, 5of7, 6of7, 7of7, expected all/, {
      env: { LISTEN_FDNAMES: names.slice(0, 4).join(":") },
    }],
    ["fewer descriptors than names", /systemd held 6of7, 7of7, expected all/, {
      env: { LISTEN_FDS: "7", LISTEN_FDNAMES: all },
      fds: fds.slice(0, 2),
    }],
    ["one of them twice", twice, {
      env: { LISTEN_FDNAMES: `${all}:${names[0]}` },
      fds: [...fds, fds[0]!],
    }],
  ];
}

Deno.test("descriptors from systemd are used only if LISTEN_FDS and its companions are valid", async (t) => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    const { manager } = place;
    await place.leave();
    const fds = manager.stored.map(({ fd }) => fd);
    const names = manager.stored.map(({ name }) => name);
    const LISTEN_FDNAMES = names.join(":");
    for (const [name, reason, options] of misused(fds, names)) {
      await t.step(name, () => place.assertRefused(reason, options));
    }
    await t.step("descriptors that are not viola's are left alone", async () => {
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
