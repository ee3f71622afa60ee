// SPDX-License-Identifier: Apache-2.0
// viola up, as a process: devices of its own and of others, with drivers on software nodes.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { EPOLLIN, Reactor, UnixSocket, WOULD_BLOCK } from "../../../ffi/mod.ts";
import { can, rng } from "../../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../../lib/guest/mod.ts";
import type { DeviceStatus } from "../../../lib/scene/status.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import type { DeviceClass } from "../../../lib/virtio/device_class.ts";
import type { Process } from "../../support/process.ts";
import { run, TempFolder, until } from "../../support/process.ts";
import { assertFails, facts, reported, viola } from "./viola.ts";

/** A process takes a while to start, on a machine that does other things too. */
const PATIENCE_MS = 30_000;
const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

/** A folder with a scene file and software nodes, and a driver for each. */
class Place implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #reactor: Reactor;

  private constructor(readonly folder: TempFolder, stack: AsyncDisposableStack) {
    this.#stack = stack;
    this.#reactor = stack.use(new Reactor());
  }

  static async create(): Promise<Place> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    return new Place(folder, stack.move());
  }

  /** So that the control socket is in the folder. */
  get env(): Record<string, string> {
    return { VIOLA_STORE: this.folder.file("viola/store") };
  }

  get file(): string {
    return this.folder.file("car.toml");
  }

  /** A node, and a driver that waits for its device. */
  async driver<C extends DeviceClass>(deviceClass: C, name: string): Promise<Guest<C>> {
    const node = this.#stack.use(new SoftNode());
    node.listen(this.folder.file(name), this.#reactor);
    return this.#stack.use(
      await startGuest(deviceClass, node.wires, { controlTimeoutMs: PATIENCE_MS }),
    );
  }

  /** A device's section. */
  section(className: string, name: string, more = ""): string {
    const loopback = `soft:${this.folder.file(name)}`;
    return `[[device]]\nclass = "${className}"\nname = "${name}"\nloopback = "${loopback}"\n${more}\n`;
  }

  /** Messages to a service's systemd. */
  systemd(): { path: string; messages: string[] } {
    const path = this.folder.file("notify");
    const socket = this.#stack.use(UnixSocket.datagramAt(path));
    const messages: string[] = [];
    this.#reactor.watch(socket.number, EPOLLIN, () => {
      const buffer = new Uint8Array(4096);
      for (let n; (n = socket.receive(buffer, 0, buffer.length).length) !== WOULD_BLOCK;) {
        messages.push(new TextDecoder().decode(buffer.subarray(0, n)));
      }
    });
    return { path, messages };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Whether a device has been reported so. */
function happened(process: Process, event: string, device: string): boolean {
  return facts(process).some((fact) => fact.event === event && fact.device === device);
}

/** Waits for something that viola does. */
async function wait(process: Process, condition: () => boolean): Promise<void> {
  await until(condition, "what is expected", PATIENCE_MS).catch((error: Error) => {
    throw new Error(`${error.message}\n${process.report()}`);
  });
}

async function entropy(guest: Guest<typeof rng>): Promise<void> {
  assertEquals((await guest.call("readEntropy", 64)).length, 64);
}

Deno.test("viola up serves a scene, starts again what ends, and leaves nothing", async () => {
  await using place = await Place.create();
  const [own, foreign] = [await place.driver(rng, "own"), await place.driver(rng, "foreign")];
  const socket = place.folder.file("rng.sock");
  const pidFile = place.folder.file("pid");
  const command = `echo $$ > ${pidFile}; exec ${Deno.execPath()} run -A --no-check ${MAIN} ` +
    `device rng --socket ${socket}`;
  Deno.writeTextFileSync(
    place.file,
    place.section("rng", "own") +
      place.section("rng", "foreign", `socket = "${socket}"\ncommand = "${command}"`) +
      place.section("can", "absent"),
  );
  const { path, messages } = place.systemd();
  await using process = viola(["up", place.file, "--json"], {
    env: { ...place.env, NOTIFY_SOCKET: path, WATCHDOG_USEC: "50000", TMPDIR: place.folder.path },
  });
  await Promise.all([own.probe(PATIENCE_MS), foreign.probe(PATIENCE_MS)]);
  await entropy(own);
  await entropy(foreign);
  // The third has no node: it is reported and tried again, and the service is ready all the same.
  await wait(process, () => messages.includes("READY=1"));
  await wait(process, () => messages.includes("WATCHDOG=1"));
  assert(happened(process, "failed", "absent"), process.report());

  Deno.kill(Number(Deno.readTextFileSync(pidFile)), "SIGKILL");
  await wait(process, () => happened(process, "resumed", "foreign"));
  await entropy(foreign);
  await entropy(own);
  const pid = Number(Deno.readTextFileSync(pidFile));

  process.signal("SIGTERM");
  assertEquals((await process.end(PATIENCE_MS)).code, 0, process.report());
  assert(messages.includes("STOPPING=1"), messages.join());
  assertEquals(await isGone(pid), true, "the command has ended");
  const left = [...Deno.readDirSync(place.folder.path)].filter(({ name }) =>
    name.startsWith("viola-")
  );
  assertEquals(left, []);
});

async function isGone(pid: number): Promise<boolean> {
  return await run("kill", ["-0", String(pid)]).then(() => false, () => true);
}

Deno.test("SIGHUP applies what has changed, and a mistake changes nothing", async () => {
  await using place = await Place.create();
  const [same, late] = [await place.driver(rng, "same"), await place.driver(can, "late")];
  Deno.writeTextFileSync(place.file, place.section("rng", "same"));
  await using process = viola(["up", place.file, "--json"], { env: place.env });
  await same.probe(PATIENCE_MS);

  Deno.writeTextFileSync(place.file, `${place.section("rng", "same")}tuba = 1\n`);
  process.signal("SIGHUP");
  const at = new RegExp(`${place.file}:6: Cannot use "tuba".*`);
  await wait(process, () => at.test(process.stderr));
  await entropy(same);

  const changed = place.section("rng", "same") + place.section("can", "late");
  Deno.writeTextFileSync(place.file, changed);
  process.signal("SIGHUP");
  await late.probe(PATIENCE_MS);
  await reported(process, "reloaded");
  await entropy(same);
  const starts = facts(process).filter(({ event, device }) =>
    event === "started" && device === "same"
  );
  assertEquals(starts.length, 1, "the device that has not changed was not started again");

  Deno.writeTextFileSync(place.file, place.section("can", "late"));
  process.signal("SIGHUP");
  await wait(process, () => happened(process, "removed", "same"));
  process.signal("SIGINT");
  assertEquals((await process.end(PATIENCE_MS)).code, 0, process.report());
});

Deno.test("viola status and viola metrics tell how the devices are, until viola up ends", async () => {
  await using place = await Place.create();
  const guest = await place.driver(rng, "source");
  const { env } = place;
  Deno.writeTextFileSync(
    place.file,
    place.section("rng", "source") + place.section("can", "absent"),
  );
  await using early = viola(["status"], { env });
  await assertFails(early, 2, /Cannot connect to .*viola\/control.*ENOENT/);

  await using process = viola(["up", place.file, "--json"], { env });
  await guest.probe(PATIENCE_MS);
  await entropy(guest);
  await wait(process, () => happened(process, "failed", "absent"));
  await using status = viola(["status", "--json"], { env });
  assertEquals((await status.end()).code, 0, status.report());
  const { devices } = JSON.parse(status.stdout) as { devices: DeviceStatus[] };
  assertEquals(devices.map(({ name, state }) => [name, state]).toSorted(), [
    ["absent", "failed"],
    ["source", "running"],
  ]);
  const [queue] = devices.find(({ name }) => name === "source")!.queues;
  assert(Number(queue!.completions) > 0, status.stdout);

  await using metrics = viola(["metrics"], { env });
  assertEquals((await metrics.end()).code, 0, metrics.report());
  assertMatch(metrics.stdout, /^viola_device_running\{device="source"\} 1$/m);
  await using second = viola(["up", place.file], { env });
  await assertFails(second, 2, /viola\/control.*EADDRINUSE/);

  await using watch = viola(["status", "--watch"], { env });
  await wait(watch, () => /^source +running +for .*DRIVER_OK/m.test(watch.stdout));
  process.signal("SIGTERM");
  assertEquals((await process.end(PATIENCE_MS)).code, 0, process.report());
  await assertFails(watch, 2, /Cannot connect to .*viola\/control/);
});

Deno.test("viola up --check tells what is wrong, and where", async () => {
  await using folder = await TempFolder.create();
  const file = folder.file("car.toml");
  const device = `[[device]]\nclass = "sound"\nloopback = "soft:/x"\n`;
  const table: [string, number, RegExp][] = [
    [
      "[[device]]\n",
      1,
      /Cannot use .*car\.toml: 1 mistake\n.*car\.toml:1: Cannot use \[\[device\]\] 1: class and loopback are missing/,
    ],
    [
      `${device}sink = "mp3:x"\n`,
      1,
      /Cannot play to "mp3:x", expected wav:FILE.* \(device sound\)/,
    ],
    [
      `${device.replace("soft:/x", "soft")}`,
      1,
      /Cannot run sound: its loopback is "soft".*viola demo .*car\.toml starts that/,
    ],
    [`${device}source = "wav:${folder.file("none.wav")}"\n`, 2, /none\.wav: no such file/],
  ];
  for (const [text, status, message] of table) {
    Deno.writeTextFileSync(file, text);
    await using process = viola(["up", file, "--check"]);
    await assertFails(process, status, message);
  }
  Deno.writeTextFileSync(file, device);
  await using process = viola(["up", file, "--check"]);
  assertEquals((await process.end()).code, 0, process.report());
  assertEquals(process.stdout, `${file} is valid: 1 device\n`);
  Deno.writeTextFileSync(folder.file("more.toml"), device);
  await using both = viola(["up", folder.path, "--check"]);
  await assertFails(
    both,
    1,
    /more\.toml:3: Cannot use loopback "soft:\/x" twice/,
  );
  await using missing = viola(["up", folder.file("none.toml")]);
  await assertFails(missing, 2, /Cannot read .*none\.toml: .*ENOENT/);
});

Deno.test("viola schema prints the format as JSON Schema", async () => {
  await using process = viola(["schema"]);
  assertEquals((await process.end()).code, 0, process.report());
  const { $schema, properties } = JSON.parse(process.stdout);
  assertEquals($schema, "https://json-schema.org/draft/2020-12/schema");
  assertEquals(Object.keys(properties), ["device", "lane", "cue", "expect"]);
});
