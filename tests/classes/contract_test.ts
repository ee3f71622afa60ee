// SPDX-License-Identifier: Apache-2.0
// What is asked of every class in the list; a class is tested by being listed. What takes a process is in
// tests/integration/chain/classes_test.ts.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEVICE_CLASSES } from "../../lib/classes/mod.ts";
import type { EmbeddedDevice } from "../../lib/device/embedded_device.ts";
import type { CliOption, CliRole } from "../../lib/device/cli_role.ts";
import type { DeviceRole } from "../../lib/device/role.ts";
import { Progress } from "../../lib/guest/progress.ts";
import type { DriverRole } from "../../lib/guest/role.ts";
import {
  type DeviceClass,
  loadRole,
  type ReplayRole,
  type RoleName,
} from "../../lib/virtio/device_class.ts";
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../lib/virtio/ring_layout.ts";
import { CONFIG_SPACE_BYTES, isQueueSize } from "../../lib/virtio/state.ts";
import { DeviceBench, Wiring } from "../device/wiring.ts";
import { seeded } from "../support/random.ts";

/** Loads a class's role, null for a class without. */
function roleOf<Role>({ roles }: DeviceClass, name: RoleName): Promise<Role> | null {
  const url = roles[name];
  return url === undefined ? null : loadRole<Role>(url.href, name);
}

/** A test of each class, or of each that has a role. */
function forEach(what: string, test: (deviceClass: DeviceClass) => void | Promise<void>): void {
  for (const one of DEVICE_CLASSES) Deno.test(`${one.name}: ${what}`, () => test(one));
}

function forEachWith<Role>(
  name: RoleName,
  what: string,
  test: (role: Role, deviceClass: DeviceClass) => void | Promise<void>,
): void {
  for (const one of DEVICE_CLASSES) {
    const role = roleOf<Role>(one, name);
    if (role !== null) Deno.test(`${one.name}: ${what}`, async () => await test(await role, one));
  }
}

/** The queues of a back-end that offers no feature, with the smallest config space, all zeros. */
function leastQueues({ queues, config }: DeviceClass) {
  return queues({ features: 0n, queueCount: 256, config: new Uint8Array(config.min) });
}

/** The queues that a class's own device has. */
function ownQueues({ queues }: DeviceClass, device: EmbeddedDevice) {
  const { features, queueCount } = device;
  return queues({ features, queueCount, config: device.readConfig() });
}

// ---- data ----

forEach("its data is what registers and transports can present", (one) => {
  const queues = leastQueues(one);
  assert(queues.length > 0);
  assertEquals(new Set(queues.map(({ name }) => name)).size, queues.length);
  for (const { kind, size } of queues) {
    assert(["request", "stream", "event", "watch"].includes(kind), kind);
    assert(isQueueSize(size), `${size}`);
  }
  const { min, max, access, required } = one.config;
  assert(min <= max && max <= CONFIG_SPACE_BYTES);
  assert(["cached", "forwarded"].includes(access));
  assert(max > 0 || !required, "a config space of no bytes cannot be required");
  const bits = Object.keys(one.featureNames).map(Number);
  assert(bits.every((n) => n < 24), "bits 24 and above are not the class's");
  const own = bits.reduce((all, n) => all | 1n << BigInt(n), 0n);
  assertEquals((one.masked | (one.config.features ?? 0n)) & ~own, 0n);
  assert(/^[a-z][a-z0-9_]*$/.test(one.name) && one.summary !== "");
});

forEach("whatever a back-end says of itself, there are queues, and not without end", (one) => {
  const draws = seeded();
  const { min, max } = one.config;
  for (let round = 0; round < 50; round++) {
    const config = round % 2 === 0 ? draws.bytes(max) : new Uint8Array(max).fill(0xff);
    for (
      const bytes of [
        config,
        config.subarray(0, min),
        ...(one.config.required ? [] : [new Uint8Array()]),
      ]
    ) {
      const features = BigInt(draws.word()) & 0xff_ffffn;
      const queues = one.queues({ features, queueCount: 256, config: bytes.slice() });
      // Refused later, where it is known what the back-end has.
      assert(queues.length > 0 && queues.length <= 2 * 65535 + 1, `${queues.length}`);
      assert(queues.every(({ size }) => isQueueSize(size)));
    }
  }
});

Deno.test("no two classes have an id or a name in common", () => {
  const ids = DEVICE_CLASSES.map(({ id }) => id);
  const names = DEVICE_CLASSES.flatMap(({ name, dropInNames }) => [name, ...dropInNames]);
  assertEquals(new Set(ids).size, ids.length);
  assertEquals(new Set(names).size, names.length);
});

forEach(
  "each role lies in its folder, in a file of the role's name, and is this class's",
  async (one) => {
    for (const name of Object.keys(one.roles) as RoleName[]) {
      const { pathname } = one.roles[name]!;
      assertStringIncludes(pathname, `/lib/classes/${one.name}/${name}.ts`);
      const role = await roleOf<{ deviceClass?: DeviceClass }>(one, name)!;
      if (name === "device" || name === "driver") assertEquals(role.deviceClass, one);
    }
  },
);

// ---- the command line ----

/** What `viola device` has for all classes. */
const COMMON = ["--socket", "--json", "--until-eof", "--help"];

forEachWith<CliRole>(
  "cli",
  "its options can be shown, and what is said of none is a device",
  async (cli, one) => {
    for (const { flags, description } of cli.options) {
      assert(/^--[a-z][a-z-]* <[a-z]+>$/.test(flags) && flags.length <= 17, flags);
      assert(!COMMON.includes(flags.split(" ")[0]!), flags);
      assert(description.split("\n").every((line) => line.length <= 60), description);
    }
    assert((cli.help ?? "").split("\n").every((line) => line.length <= 90), cli.help);
    const device = await roleOf<DeviceRole>(one, "device");
    device?.check(cli.parse({}));
  },
);

Deno.test("an option of two classes takes the same values in both", async () => {
  const seen = new Map<string, Omit<CliOption, "description">>();
  for (const one of DEVICE_CLASSES) {
    const cli = await roleOf<CliRole>(one, "cli");
    for (const { description: _, ...rest } of cli?.options ?? []) {
      const [name] = rest.flags.split(" ");
      assertEquals(seen.get(name!) ?? rest, rest);
      seen.set(name!, rest);
    }
  }
});

// ---- the embedded device ----

forEachWith<DeviceRole>(
  "device",
  "its device works with nothing said, and is what the class says",
  (role, one) => {
    role.check({});
    using bench = new DeviceBench(role, {});
    const { device } = bench;
    const { min, max } = one.config;
    const { length } = device.readConfig();
    assert(length >= min && length <= max, `${length} bytes of config space`);
    const own = Object.keys(one.featureNames).reduce((all, n) => all | 1n << BigInt(n), 0n);
    assertEquals(device.features & (1n << 24n) - 1n & ~own, 0n);
    assert(device.queueCount >= leastQueues(one).length);
  },
);

const OUTSIDE = 0x7000_0000_0000;
const INSIDE = 0x1_0001_0000;

/** What a hostile driver may write to the first descriptor of its ring of 64, and whether that alone breaks a rule. */
const LIES: [
  name: string,
  desc: [address: number, length: number, flags: number, next: number],
  isRule: boolean,
][] = [
  ["memory that is not there, to read", [OUTSIDE, 16, 0, 0], false],
  ["memory that is not there, to write", [OUTSIDE, 16, VIRTQ_DESC_F_WRITE, 0], false],
  ["memory that ends too early", [INSIDE, 0xffff_ffff, VIRTQ_DESC_F_WRITE, 0], false],
  ["a chain that leads out of the ring", [INSIDE, 16, VIRTQ_DESC_F_NEXT, 64], true],
  ["a chain that leads to itself", [INSIDE, 16, VIRTQ_DESC_F_NEXT, 0], true],
  ["an indirect table of half a descriptor", [INSIDE, 8, VIRTQ_DESC_F_INDIRECT, 0], true],
  [
    "an indirect table that goes on",
    [INSIDE, 16, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT, 1],
    true,
  ],
  ["an indirect table that is not there", [OUTSIDE, 16, VIRTQ_DESC_F_INDIRECT, 0], true],
];

for (const [lie, descriptor, isRule] of LIES) {
  forEachWith<DeviceRole>("device", `its device is offered ${lie}`, (role, one) => {
    using bench = new DeviceBench(role, {});
    const { device } = bench;
    ownQueues(one, device).forEach(({ kind }, index) => {
      if (kind === "event") return; // looked at when there is something to tell
      const wiring = new Wiring(device);
      wiring.start();
      const { ring: driver } = wiring.queues[index]!;
      driver.writeDescriptor(0, ...descriptor);
      driver.offer(0);
      driver.publish();
      const ring = wiring.rings[index]!;
      ring.onKick();
      if (isRule) assertStringIncludes(`${ring.failure?.message}`, `queue ${index} of ${one.name}`);
      for (const other of wiring.rings) if (other !== ring) assertEquals(other.failure, null);
      ring.onKick(); // a ring that was given up is not looked at again
      for (let i = 0; i < device.queueCount; i++) device.stopRing(i, true);
      device.disconnected();
    });
  });
}

forEachWith<DeviceRole>("device", "its device is sent anything at all", (role, one) => {
  const draws = seeded();
  using bench = new DeviceBench(role, {});
  const { device, clock } = bench;
  const wiring = new Wiring(device);
  wiring.start();
  const queues = ownQueues(one, device);
  for (let round = 0; round < 300; round++) {
    const index = draws.integer(queues.length);
    const pieces = Array.from(
      { length: draws.integer(3) },
      () => draws.bytes(1 + draws.integer(40)),
    );
    const rooms = Array.from({ length: draws.integer(3) }, () => 1 + draws.integer(40));
    if (pieces.length + rooms.length === 0) continue;
    try {
      wiring.offer(index, round + 1, pieces, rooms);
    } catch (error) {
      assertStringIncludes((error as Error).message, "no room in the ring"); // the device holds them all
    }
    if (round % 16 === 0) clock.pass(20);
    for (const queue of wiring.queues) while (queue.take() !== null);
  }
  assertEquals(wiring.rings.map(({ failure }) => failure), queues.map(() => null));
  for (let i = 0; i < device.queueCount; i++) device.stopRing(i, false);
  device.disconnected();
});

// ---- the software driver ----

forEachWith<DriverRole>(
  "driver",
  "what its driver shows has room, and names of its own",
  ({ progress }) => {
    new Progress(progress);
    const names = [...progress.totals, ...progress.words, ...progress.numbers];
    assertEquals(new Set(["order", "state", "interrupts", ...names]).size, names.length + 3);
  },
);

// ---- the replay ----

forEachWith<ReplayRole>(
  "replay",
  "its replay watches a queue of requests, and begins with nothing",
  (role, one) => {
    // The queue may be there only with a feature.
    const features = Object.keys(one.featureNames).reduce((all, n) => all | 1n << BigInt(n), 0n);
    const full = { features, queueCount: 256, config: new Uint8Array(one.config.max) };
    assertEquals(one.queues(full)[role.queue]?.kind, "request");
    assert(role.requestBytes > 0 && role.responseBytes >= 0);
    const replay = role.create(new Uint8Array(role.stateBytes));
    assertEquals([replay.before(), replay.after()], [[], []]);
  },
);

forEachWith<ReplayRole>(
  "replay",
  "its replay takes any request, any answer and any state",
  (role) => {
    const draws = seeded();
    for (let round = 0; round < 100; round++) {
      const replay = role.create(draws.bytes(role.stateBytes));
      const request = new DataView(draws.bytes(role.requestBytes).buffer);
      assertEquals(
        typeof role.isOk(new DataView(draws.bytes(role.responseBytes).buffer)),
        "boolean",
      );
      for (let length = 0; length <= role.requestBytes; length++) replay.observe(request, length);
      for (const message of [...replay.before(), ...replay.after()]) {
        assert(message.length > 0 && message.length <= role.requestBytes);
      }
      replay.isDue(draws.integer(8), draws.word());
    }
  },
);

forEachWith<ReplayRole>("replay", "its replay goes on from the state that another left", (role) => {
  const draws = seeded();
  const area = new Uint8Array(role.stateBytes);
  const first = role.create(area);
  // Mostly zeros and small numbers: among these are requests that mean something.
  const byte = () => draws.integer(4) === 0 ? draws.integer(6) : 0;
  for (let round = 0; round < 4000; round++) {
    const bytes = Uint8Array.from({ length: role.requestBytes }, byte);
    first.observe(new DataView(bytes.buffer), bytes.length);
  }
  const successor = role.create(area);
  assertEquals([successor.before(), successor.after()], [first.before(), first.after()]);
});
