// SPDX-License-Identifier: Apache-2.0
// viola attach, viola device and the drop-in command line, as processes, with good and bad company.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Reactor, UnixListener } from "../../../ffi/mod.ts";
import { rng, sound } from "../../../lib/classes/mod.ts";
import { startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { deviceClassByName } from "../../../lib/classes/mod.ts";
import { type BackEndDevice, BackEndServer, FrontEnd } from "../../../lib/vhost_user/mod.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../../../lib/virtio/features.ts";
import { type WavFormat, WavReader, WavWriter } from "../../../lib/wav/mod.ts";
import { socketsIn } from "../../support/leaks.ts";
import { ServiceManager } from "../../support/service_manager.ts";
import { run, TempFolder } from "../../support/process.ts";
import { Driver, VERSION_1 } from "../../vhost_user/harness.ts";
import { assertFails, facts, reported, RUN, viola, violaAs, violaBy } from "./viola.ts";

/** A folder, a soft node in it at `node`, and room for sockets. */
class Place implements AsyncDisposable {
  private constructor(
    readonly folder: TempFolder,
    readonly reactor: Reactor,
    readonly node: SoftNode,
  ) {}

  static async create(): Promise<Place> {
    const folder = await TempFolder.create();
    const reactor = new Reactor();
    const node = new SoftNode();
    node.listen(folder.file("node"), reactor);
    return new Place(folder, reactor, node);
  }

  get socket(): string {
    return this.folder.file("socket");
  }

  get loopback(): string {
    return `soft:${this.folder.file("node")}`;
  }

  /** Options of `viola attach`. */
  get here(): string[] {
    return ["--socket", this.socket, "--loopback", this.loopback];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.node.close();
    await this.reactor.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

/** A back-end that is sound, but for what it has. */
function idleDevice(queueCount: number, configBytes: number): BackEndDevice {
  return {
    name: "idle device",
    deviceId: 0,
    features: bit(VIRTIO_F_VERSION_1),
    queueCount,
    maxQueueSize: 64,
    readConfig: () => new Uint8Array(configBytes),
    startRing: () => {},
    stopRing: () => {},
    disconnected: () => {},
  };
}

/** A server that is no vhost-user back-end: what it does with each connection. */
function strangeServer(path: string, serve: (connection: Deno.UnixConn) => void): Disposable {
  const connections: Deno.UnixConn[] = [];
  const listener = Deno.listen({ transport: "unix", path });
  (async () => {
    for await (const connection of listener) {
      connections.push(connection);
      serve(connection);
    }
  })();
  const close = (closable: { close(): void }) => {
    try {
      closable.close();
    } catch { /* closed by serve */ }
  };
  return { [Symbol.dispose]: () => [listener, ...connections].forEach(close) };
}

Deno.test("viola device listens, serves, and leaves no socket", async (t) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    await t.step(signal, async () => {
      await using folder = await TempFolder.create();
      await using device = viola(["device", "rng", "--socket", folder.file("s"), "--json"]);
      await reported(device, "listening");
      assertEquals(socketsIn(folder.path), ["s"]);
      await using second = viola(["device", "rng", "--socket", folder.file("s")]);
      await assertFails(second, 2, /listen on \S*\/s: .*EADDRINUSE/);
      device.signal(signal);
      assertEquals((await device.end(5000)).code, 0, device.report());
      assertEquals([socketsIn(folder.path), device.stderr], [[], ""]);
    });
  }
});

Deno.test("viola device --until-eof ends with its standard input", async () => {
  await using folder = await TempFolder.create();
  // The test's helper gives its processes an empty standard input.
  await using device = viola([
    ...["device", "sound", "--socket", folder.file("s"), "--until-eof"],
  ]);
  assertEquals((await device.end(5000)).code, 0, device.report());
  assertEquals(socketsIn(folder.path), []);
});

Deno.test("viola attach ends in order with its terminal, but not under nohup", async () => {
  await using place = await Place.create();
  const args = ["attach", "rng", ...place.here, "--json"];
  await using adapter = viola(args);
  await reported(adapter, "waiting");
  adapter.signal("SIGHUP");
  assertEquals((await adapter.end(5000)).code, 0, adapter.report());
  assertEquals(facts(adapter).at(-1)!.event, "counters");

  await using stubborn = violaBy(`trap '' HUP; exec "$@"`, args);
  await reported(stubborn, "waiting");
  stubborn.signal("SIGHUP");
  await using _device = viola(["device", "rng", "--socket", place.socket]);
  await using guest = await startGuest(rng, place.node.wires);
  await guest.probe();
  assertEquals((await guest.call("readEntropy", 64)).length, 64);
});

/** A pipe that is full, and that nobody reads. */
async function fullPipe(path: string): Promise<Disposable> {
  assert((await new Deno.Command("mkfifo", { args: [path] }).output()).success);
  const pipe = Deno.openSync(path, { read: true, write: true });
  pipe.writeSync(new Uint8Array(65536));
  return pipe;
}

Deno.test("viola device without a free descriptor reports it once, and serves as soon as it has one", async () => {
  await using place = await Place.create();
  await using device = viola(["device", "rng", "--socket", place.socket, "--json"]);
  await reported(device, "listening");
  const limit = (files: string) => run("prlimit", [`--pid=${device.pid}`, `--nofile=${files}:`]);
  const [, before] = /Max open files +(\d+)/.exec(
    Deno.readTextFileSync(`/proc/${device.pid}/limits`),
  )!;
  await limit("3"); // all that it has are above that
  const { reactor } = place;
  const options = {
    reactor,
    name: "rng",
    deviceClass: deviceClassByName("rng")!,
    deadlineMs: 20_000,
  };
  const meeting = FrontEnd.connect(place.socket, options);
  await reported(device, "error");
  using frontEnd = await meeting;
  const profile = frontEnd.initialise();
  await new Promise((resolve) => setTimeout(resolve, 1000)); // for more complaints, were there any
  await limit(before!);
  await profile;
  const errors = facts(device).filter(({ event }) => event === "error");
  assertEquals(errors.length, 1, device.report());
  assert(/accept on .* \(EMFILE\)/.test(`${errors[0]!.text}`), device.report());
  await limit("3");
  using driver = new Driver(1);
  const { features, memory } = { features: VERSION_1, memory: driver.memory };
  await assertRejects(() => frontEnd.start({ features, memory, rings: driver.rings() }));
  await reported(device, "error", ({ text }) => /the front-end of .*\(EMFILE\)/.test(`${text}`));
  await limit(before!);
  device.signal("SIGTERM");
  assertEquals((await device.end()).code, 0, device.report());
});

Deno.test("viola attach and viola device serve although their reports cannot be written", async (t) => {
  const table: [string, string][] = [
    ["nobody reads", 'exec "$@" >PIPE'],
    ["nobody reads complaints", 'exec "$@" 2>PIPE'],
    ["nobody reads anything", 'exec "$@" >PIPE 2>&1'],
    ["the disk is full", 'exec "$@" >/dev/full'],
    ["the disk is full for complaints", 'exec "$@" 2>/dev/full'],
    ["all is closed", 'exec "$@" <&- >&- 2>&-'],
    ["the reader is gone", 'exec "$@" > >(:) 2>&1'],
  ];
  for (const [name, redirection] of table) {
    await t.step(name, async () => {
      await using place = await Place.create();
      using _pipe = await fullPipe(place.folder.file("pipe"));
      const script = redirection.replace("PIPE", place.folder.file("pipe"));
      await using adapter = violaBy(script, ["attach", "rng", ...place.here, "--json"]);
      await using device = violaBy(script, ["device", "rng", "--socket", place.socket]);
      await using guest = await startGuest(rng, place.node.wires);
      await guest.probe(20_000);
      assertEquals((await guest.call("readEntropy", 64)).length, 64);
      for (const process of [adapter, device]) {
        process.signal("SIGTERM");
        assertEquals((await process.end(10_000)).code, 0, process.report());
      }
      assertEquals(socketsIn(place.folder.path), ["node"]);
    });
  }
});

Deno.test("viola attach reports that it waits for a back-end, and connects when it listens", async () => {
  await using place = await Place.create();
  await using adapter = viola(["attach", "rng", ...place.here, "--json"]);
  await reported(adapter, "waiting");
  assert(/^viola: rng: waiting for a back-end for 1 s: .*ENOENT/.test(adapter.stderr));
  assert(!place.node.isOpen, "the node is opened only once the back-end has answered");
  await using device = viola(["device", "rng", "--socket", place.socket, "--json"]);
  await using guest = await startGuest(rng, place.node.wires);
  await guest.probe();
  assertEquals((await guest.call("readEntropy", 64)).length, 64);
  adapter.signal("SIGTERM");
  assertEquals((await adapter.end(5000)).code, 0, adapter.report());
  const events = facts(adapter).map(({ event }) => event);
  assertEquals(events, ["waiting", "connected", "started", "running", "counters"]);
  const [counters] = facts(adapter).at(-1)!.devices as Record<string, unknown>[];
  assertEquals(counters!.device, "rng");
  device.signal("SIGTERM");
  assertEquals((await device.end(5000)).code, 0, device.report());
  assertEquals(socketsIn(place.folder.path), ["node"]);
});

Deno.test("viola attach refuses back-ends that do not fit", async (t) => {
  const serve = (place: Place, device: BackEndDevice) =>
    new BackEndServer(place.reactor, place.socket, device);
  const garbage = new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n");
  const table: [string, (place: Place) => Disposable, RegExp][] = [
    [
      "another class",
      (place) => serve(place, idleDevice(1, 0)),
      /Cannot use the back-end of sound: /,
    ],
    ["fewer queues", (place) => serve(place, idleDevice(2, 12)), /it has 2 queues, .* needs 4/],
    [
      "a config too short",
      (place) => serve(place, idleDevice(4, 4)),
      /Cannot use the back-end of sound: /,
    ],
    [
      "no vhost-user",
      (place) => strangeServer(place.socket, (connection) => void connection.write(garbage)),
      /Cannot .*sound/,
    ],
  ];
  for (const [name, company, message] of table) {
    await t.step(name, async () => {
      await using place = await Place.create();
      using _company = company(place);
      await using adapter = viola(["attach", "sound", ...place.here]);
      await assertFails(adapter, 2, message);
    });
  }
});

Deno.test("viola attach waits for back-ends that are not there, hang up, or are silent", async (t) => {
  const table: [string, (place: Place) => Disposable, string, RegExp][] = [
    [
      "a file in place of the socket",
      (place) => {
        Deno.writeTextFileSync(place.socket, "");
        return { [Symbol.dispose]() {} };
      },
      "waiting",
      /waiting for a back-end for 1 s: .*ECONNREFUSED/,
    ],
    [
      "one that hangs up",
      (place) => strangeServer(place.socket, (connection) => connection.close()),
      "lost",
      /^viola: sound: /,
    ],
    [
      "one that is silent",
      (place) => strangeServer(place.socket, () => {}),
      "lost",
      /^viola: sound: .*no reply within 2000 ms/,
    ],
  ];
  for (const [name, company, event, message] of table) {
    await t.step(name, async () => {
      await using place = await Place.create();
      using _company = company(place);
      await using adapter = viola(["attach", "sound", ...place.here, "--json"]);
      await reported(adapter, event);
      assert(message.test(adapter.stderr), adapter.report());
      adapter.signal("SIGTERM");
      assertEquals((await adapter.end(5000)).code, 0, adapter.report());
    });
  }
});

Deno.test("viola attach refuses nodes that are busy, or something else", async (t) => {
  await using place = await Place.create();
  using _first = new BackEndServer(place.reactor, place.socket, idleDevice(4, 12));
  const second = place.folder.file("second");
  using _second = new BackEndServer(place.reactor, second, idleDevice(4, 12));
  await using adapter = viola(["attach", "sound", ...place.here, "--json"]);
  await reported(adapter, "started");
  Deno.writeTextFileSync(place.folder.file("file"), "");
  using _strange = strangeServer(place.folder.file("strange"), (connection) => {
    connection.write(new Uint8Array(24)).catch(() => {});
  });
  const table: [string, string, RegExp][] = [
    ["busy", place.loopback, /open soft:\S*node.*EBUSY/],
    ["a file", `soft:${place.folder.file("file")}`, /soft:\S*file/],
    [
      "another server",
      `soft:${place.folder.file("strange")}`,
      /not a soft loopback device.*EPROTO/,
    ],
    ["a folder", `soft:${place.folder.path}`, /soft:/],
  ];
  for (const [name, loopback, message] of table) {
    await t.step(name, async () => {
      await using other = viola(["attach", "sound", "--socket", second, "--loopback", loopback]);
      await assertFails(other, 2, message);
    });
  }
  await t.step("a CPU that is not there", async () => {
    const args = ["--socket", second, "--loopback", place.loopback, "--cpus", "52"];
    await using other = viola(["attach", "sound", ...args]);
    await assertFails(other, 1, /Cannot pin a thread to CPU 52: .*EINVAL/);
  });
  assertEquals(adapter.status, null, "who has it keeps it");
});

Deno.test("viola attach: when one device fails the others keep running", async () => {
  await using place = await Place.create();
  const fit = place.folder.file("fit");
  using node = new SoftNode();
  node.listen(place.folder.file("node1"), place.reactor);
  using _unfit = new BackEndServer(place.reactor, place.socket, idleDevice(1, 0));
  await using device = viola(["device", "rng", "--socket", fit, "--json"]);
  await reported(device, "listening");
  await using adapter = viola([
    ...["attach", "sound", "rng", ...place.here, "--json"],
    ...["--socket", fit, "--loopback", `soft:${place.folder.file("node1")}`],
  ]);
  await reported(adapter, "failed");
  await using guest = await startGuest(rng, node.wires);
  await guest.probe();
  assertEquals((await guest.call("readEntropy", 16)).length, 16);
  assert(/Cannot use the back-end of sound/.test(adapter.stderr), adapter.report());
});

Deno.test("the drop-in command line serves as the C program does", async (t) => {
  for (const name of ["/usr/bin/virtio-loopback-adapter", "viola"]) {
    await t.step(name, async () => {
      await using place = await Place.create();
      const wav = place.folder.file("card.wav");
      const format: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };
      {
        using writer = WavWriter.create(place.folder.file("in.wav"), format);
        writer.write(new Uint8Array(4 * 10_000).fill(7));
        writer.commit();
      }
      await using adapter = violaAs(name, [
        ...["-s", place.socket, "-d", "vhusnd", "-l", place.loopback, "-qn", "4", "-qs", "64"],
      ]);
      await using device = viola([
        ...["device", "sound", "--socket", place.socket, "--sink", `wav:${wav}`, "--pace", "free"],
      ]);
      await using guest = await startGuest(sound, place.node.wires);
      const { version } = await guest.probe();
      assertEquals(version, 2, "the back-end offers VIRTIO_F_VERSION_1");
      await guest.call("play", { file: place.folder.file("in.wav") });
      adapter.signal("SIGTERM");
      assertEquals((await adapter.end(5000)).code, 0, adapter.report());
      assertEquals((await device.stop()).code, 0, device.report());
      using reader = WavReader.open(wav);
      assertEquals(reader.frames, 10_000);
    });
  }
});

Deno.test("the drop-in command line waits for the socket, opens no node before, and fails with 1", async () => {
  await using place = await Place.create();
  await using adapter = violaAs("virtio-loopback-adapter", [
    ...["-d", "vhurng", "-s", place.socket, "-l", place.loopback],
  ]);
  await adapter.until(() => /waiting/.test(adapter.stderr), "a word of patience");
  assert(!place.node.isOpen);
  await assertFails(adapter, 1, /Cannot reach \S*socket: no back-end answered within 5 s/);
});

Deno.test("the drop-in command line fails with 1 when the back-end is silent for 5 s", async () => {
  await using place = await Place.create();
  using _silent = strangeServer(place.socket, () => {});
  const args = ["-d", "vhusnd", "-s", place.socket, "-l", place.loopback];
  await using adapter = violaAs("virtio-loopback-adapter", args);
  await assertFails(adapter, 1, /Cannot reach \S*socket: no back-end answered within 5 s/);
  assert(!place.node.isOpen);
});

Deno.test("the drop-in command line fails with 1 when the back-end does not fit", async () => {
  await using place = await Place.create();
  using _back = new BackEndServer(place.reactor, place.socket, idleDevice(1, 0));
  const args = ["-d", "vhusnd", "-s", place.socket, "-l", place.loopback];
  await using adapter = violaAs("virtio-loopback-adapter", args);
  await assertFails(adapter, 1, /Cannot use the back-end of sound/);
});

Deno.test("viola device serves at the socket that its service was activated by, and leaves it open", async () => {
  await using folder = await TempFolder.create();
  await using manager = await ServiceManager.create(folder);
  const path = folder.file("socket");
  await using reactor = new Reactor();
  using listener = UnixListener.listen(path);
  for (const args of [[], ["--socket-fd", "3"]]) {
    const command = [...RUN, "device", "rng", "--json", ...args];
    await using device = await manager.start(Deno.execPath(), command, { fds: [listener] });
    await reported(device, "listening");
    const options = { reactor, name: "rng", deviceClass: rng, deadlineMs: 20_000 };
    using frontEnd = await FrontEnd.connect(path, options);
    assertEquals((await frontEnd.initialise()).queueCount, 1);
    device.signal("SIGTERM");
    assertEquals((await device.end(5000)).code, 0, device.report());
  }
  assertEquals(socketsIn(folder.path).includes("socket"), true);
});

Deno.test("viola device tells its capabilities, and listens at one place only", async () => {
  await using asked = viola(["device", "rng", "--print-capabilities"]);
  assertEquals((await asked.end(5000)).code, 0, asked.report());
  assertEquals(JSON.parse(asked.stdout), { type: "rng", features: [] });
  await using twice = viola(["device", "rng", "--socket", "/tmp/a", "--socket-path", "/tmp/b"]);
  await assertFails(twice, 1, /expected one of --socket, --socket-path and --socket-fd/);
  await using wrong = viola(["device", "rng", "--socket-fd", "0"]);
  await assertFails(wrong, 2, /listen on descriptor 0: .*ENOTSOCK/);
});
