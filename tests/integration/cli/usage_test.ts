// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertMatch } from "@std/assert";
import metadata from "../../../deno.json" with { type: "json" };
import { DROP_IN_USAGE } from "../../../cli/dropin.ts";
import { oneOf } from "../../../lib/scene/words.ts";
import { DEVICE_CLASSES } from "../../../lib/classes/mod.ts";
import { Process, run, TempFolder } from "../../support/process.ts";
import { bytes, u16 } from "../../wav/files.ts";
import { assertFails, viola, violaAs, violaBy } from "./viola.ts";

/** What can be attached, and which of it viola has a device of. */
const CLASSES = oneOf(DEVICE_CLASSES.map(({ name }) => name));
const DEVICES = oneOf(DEVICE_CLASSES.filter(({ roles }) => roles.device).map(({ name }) => name));

const COMMANDS = [
  "demo",
  "device",
  "attach",
  "up",
  "status",
  "metrics",
  "doctor",
  "schema",
  "install",
  "forget",
];

Deno.test("viola --help fits one screen", async () => {
  for (const args of [["--help"], [], ["help"]]) {
    await using process = viola(args);
    assertEquals((await process.end()).code, 0, process.report());
    const lines = process.stdout.trimEnd().split("\n");
    assert(lines.length <= 24, `${lines.length} lines`);
    assert(lines.every((line) => line.length <= 86), process.stdout);
    for (const command of COMMANDS) assert(process.stdout.includes(`viola ${command}`));
    assertEquals(process.stderr, "");
  }
});

Deno.test("viola --version prints only the version", async () => {
  await using process = viola(["--version"]);
  assertEquals((await process.end()).code, 0);
  assertEquals(process.stdout, `${metadata.version}\n`);
});

Deno.test("each command has help", async () => {
  const asked = COMMANDS.flatMap((command) => [[command, "--help"], ["help", command]]);
  for (const args of asked) {
    const command = args.find((arg) => COMMANDS.includes(arg));
    await using process = viola(args);
    assertEquals((await process.end()).code, 0, process.report());
    assert(process.stdout.startsWith(`Usage: viola ${command} `), process.stdout);
    assert(process.stdout.split("\n").every((line) => line.length <= 90), process.stdout);
  }
});

Deno.test("viola device CLASS --help lists the options of that class only", async () => {
  const listed = async (...args: string[]) => {
    await using process = viola(args);
    assertEquals((await process.end()).code, 0, process.report());
    return process.stdout.matchAll(/^Options of (\w+)|^(\w+), .* no options of its own/gm)
      .map(([, some, none]) => some ?? none).toArray();
  };
  const all = DEVICE_CLASSES.filter(({ roles }) => roles.device).map(({ name }) => name);
  assertEquals(await listed("device", "--help"), all);
  for (const name of ["can", "rng"]) assertEquals(await listed("device", name, "--help"), [name]);
  assertEquals(await listed("help", "device", "sound"), ["sound"]);
  assertEquals(await listed("device", "--socket", "rng", "can", "--help"), ["can"]);
});

const ONE = ["--socket", "/tmp/viola-none", "--loopback", "soft:/tmp/viola-none"];

const TABLE: [string, string[], number, RegExp][] = [
  ["no command of ours", ["frobnicate"], 1, /unknown command 'frobnicate' \(see viola --help\)/],
  ["help for no command of ours", ["help", "frobnicate"], 1, /unknown command 'frobnicate'/],
  ["no option of ours", ["--frobnicate"], 1, /unknown option '--frobnicate'/],
  ["a device of no class", ["device"], 1, /missing required argument 'class' \(see viola device/],
  [
    "a class we do not have",
    ["device", "tuba", "--socket", "s"],
    1,
    new RegExp(`"tuba".*${DEVICES}`),
  ],
  ["no socket", ["device", "sound"], 1, /--socket is missing/],
  ["an empty socket path", ["device", "rng", "--socket", ""], 1, /an empty path/],
  ["a sink for rng", ["device", "rng", "--socket", "s", "--sink", "null"], 1, /--sink with rng/],
  ["a pace for rng", ["device", "rng", "--socket", "s", "--pace", "real"], 1, /--pace with rng/],
  ["no sink", ["device", "sound", "--socket", "s", "--sink", "mp3:x"], 1, /"mp3:x".*wav:FILE/],
  ["no source", ["device", "sound", "--socket", "s", "--source", "mic"], 1, /"mic".*silence/],
  ["no pace", ["device", "sound", "--socket", "s", "--pace", "hasty"], 1, /"hasty".*real or free/],
  ["no latency", ["device", "sound", "--socket", "s", "--latency", "-1"], 1, /--latency "-1"/],
  [
    "two sinks, one file",
    [
      ...["device", "sound", "--socket", "s"],
      ...["--sink", "wav:/tmp/viola-x.wav", "--sink", "wav:/tmp/viola-x.wav"],
    ],
    1,
    /two streams to one file/,
  ],
  [
    "a source that is absent",
    [
      ...["device", "sound", "--socket", "s", "--source", "wav:/tmp/viola-none.wav"],
    ],
    2,
    /Cannot read \/tmp\/viola-none.wav: no such file/,
  ],
  ["a folder that is absent", ["device", "rng", "--socket", "/tmp/viola-none/s"], 2, /listen on/],
  [
    "a socket path too long",
    ["device", "rng", "--socket", `/tmp/${"x".repeat(120)}`],
    2,
    /ENAMETO/,
  ],
  ["nothing to forget", ["forget"], 1, /missing required argument 'node' \(see viola forget/],
  ["forgetting what is no node", ["forget", "rng"], 1, /"rng".*expected soft:PATH, \/dev\/loopb/],
  ["forgetting no path", ["forget", "soft:"], 1, /Cannot forget "soft:": not a loopback/],
  ["nothing to attach", ["attach"], 1, /no CLASS is given \(see viola attach --help/],
  ["nowhere to attach", ["attach", "sound"], 1, /--socket is missing/],
  ["half a pair", ["attach", "sound", "--socket", "s"], 1, /--loopback is missing/],
  ["one socket for two", ["attach", "sound", "rng", ...ONE], 1, /1 × --socket given, expected 2/],
  ["one socket twice", ["attach", "rng", "rng", ...ONE, ...ONE], 1, /is given twice/],
  ["attaching a tuba", ["attach", "tuba", ...ONE], 1, new RegExp(`"tuba".*${CLASSES}`)],
  ["no memory mode", ["attach", "rng", ...ONE, "--memory", "lots"], 1, /isolated or direct/],
  ["no mmio version", ["attach", "rng", ...ONE, "--mmio-version", "3"], 1, /expected 1, 2 or auto/],
  [
    "a lane of two minds",
    [
      ...["attach", "rng", "rng", ...ONE, "--socket", "b", "--loopback", "soft:b"],
      ...["--cpus", "0", "--cpus", "1"],
    ],
    1,
    /lane "main": its devices disagree/,
  ],
  [
    "no loopback device",
    [
      ...["attach", "rng", "--socket", "s", "--loopback", "/dev/null"],
    ],
    1,
    /"\/dev\/null".*soft:PATH, \/dev\/loopback/,
  ],
  [
    "a node that is absent",
    [
      ...["attach", "rng", "--socket", "s", "--loopback", "/dev/loopback-9999"],
    ],
    2,
    /\/dev\/loopback-9999.*ENOENT/,
  ],
  ["a soft node that is absent", ["attach", "rng", ...ONE], 2, /soft:\/tmp\/viola-none.*ENOENT/],
  [
    "three files for two cards",
    [
      ...["demo", "--play", "a", "--play", "b", "--play", "c"],
    ],
    1,
    /3 × --play given, expected at most 2/,
  ],
  ["a file that is absent", ["demo", "--play", "/tmp/viola-none.wav"], 2, /no such file/],
  ["a folder without a name", ["demo", "--out", ""], 1, /Cannot use --out "": expected a folder/],
  ["no memory mode for the demo", ["demo", "--memory", "x"], 1, /isolated or direct/],
  [
    "a folder that cannot be made",
    ["demo", "--out", "/proc/viola"],
    2,
    /Cannot make \/proc\/viola: no such file or directory \(ENOENT\)$/m,
  ],
  [
    "a file in place of a folder",
    ["demo", "--out", "/dev/null"],
    2,
    /Cannot write to \/dev\/null: it is not a regular file, expected a folder$/m,
  ],
  ["a drop-in without options", ["-d"], 1, /-d: it has no value[\s\S]*Usage: virtio-loopback-ada/],
  [
    "a drop-in of two devices",
    ["-d", "vhusnd", "-s", "s", "-d", "vhurng", "-s", "t"],
    1,
    /Cannot understand a second -d: expected one device/,
  ],
  ["a drop-in device unknown", ["-d", "vhutuba", "-s", "s"], 1, /"vhutuba"[\s\S]*Usage/],
  ["the C program's own rng, no node", ["-d", "vrng", "-l", "9999"], 1, /loopback-9999.*ENOENT/],
  ["a drop-in node that is absent", ["-d", "vhusnd", "-s", "s", "-l", "9999"], 1, /ENOENT/],
];

Deno.test("bad usage ends with one message and its exit status", async (t) => {
  for (const [name, args, status, message] of TABLE) {
    await t.step(name, async () => {
      await using process = viola(args);
      await assertFails(process, status, message);
      assertEquals(process.stdout, "");
      const isOne = args[0]!.startsWith("-d") || process.stderr.trimEnd().split("\n").length === 1;
      assert(isOne, process.stderr);
    });
  }
});

Deno.test("the executable called virtio-loopback-adapter takes the C program's command line", async () => {
  for (const args of [[], ["--help"], ["demo"], ["-d", "a\nb"]]) {
    await using process = violaAs("/usr/bin/virtio-loopback-adapter", args);
    await assertFails(process, 1, /^Usage: virtio-loopback-adapter/m);
    const [message, ...usage] = process.stderr.trimEnd().split("\n");
    assertMatch(message!, /^viola: Cannot /);
    assertEquals(usage, DROP_IN_USAGE.split("\n"), "one line of usage is one line on the screen");
    assert(usage.every((line) => line.length <= 90), process.stderr);
  }
});

Deno.test("the drop-in command line needs no package", async () => {
  await using cache = await TempFolder.create();
  const main = new URL("../../../cli/main.ts", import.meta.url).pathname;
  const offline = ["run", "-A", "--no-prompt", "--no-check", "--cached-only", main];
  const env = { DENO_DIR: cache.path };
  const args = ["-d", "vhusnd", "-s", "s", "-l", "9999"];
  await using adapter = Process.start(Deno.execPath(), [...offline, ...args], { env });
  await assertFails(adapter, 1, /loopback-9999.*ENOENT/);
  // What does need one fails here: the cache is as empty as it should be.
  await using other = Process.start(Deno.execPath(), [...offline, "--version"], { env });
  assertEquals((await other.end()).code, 3, other.report());
});

/** A second of silence: 16 bits, mono, 8 kHz, with a plain header of 44 bytes. */
function silentFile(path: string): Uint8Array<ArrayBuffer> {
  const format = ["fmt ", 16, u16(1), u16(1), 8000, 16000, u16(2), u16(16)];
  const header = bytes("RIFF", 16036, "WAVE", ...format, "data", 16000);
  Deno.writeFileSync(path, Uint8Array.of(...header, ...new Uint8Array(16000)));
  return Deno.readFileSync(path);
}

Deno.test("files that no card can play are refused before anything starts", async (t) => {
  await using folder = await TempFolder.create();
  const path = folder.file("input.wav");
  const good = silentFile(path);
  /** With one field of its header changed: tag at 20, channels at 22, rate at 24, bits at 34. */
  const changed = (at: number, value: number) => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setUint16(at, value, true);
    return bytes;
  };
  const table: [string, Uint8Array, RegExp][] = [
    ["empty", new Uint8Array(0), /it is empty, expected a WAV file/],
    [
      "no WAV",
      new TextEncoder().encode("#!/bin/sh\necho this is no sound\n"),
      /it is not a WAV file/,
    ],
    ["another RIFF", good.with(8, 0x41), /it is not a WAV file/],
    ["cut in its header", good.subarray(0, 40), /it ends after 40 bytes/],
    ["an encoding no card has", changed(20, 0x55), /its encoding is MP3, expected PCM/],
    ["an impossible format", changed(34, 40), /its format is impossible/],
    ["a rate no card has", changed(24, 12345), /12345 Hz, expected/],
  ];
  for (const [name, bytes, message] of table) {
    await t.step(name, async () => {
      Deno.writeFileSync(path, bytes);
      const out = folder.file("out");
      await using demo = viola(["demo", "--fast", "--play", path, "--out", out]);
      await assertFails(demo, 1, message);
      await using device = viola([
        ...["device", "sound", "--socket", out, "--source", `wav:${path}`],
      ]);
      await assertFails(device, 1, message);
      assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["input.wav"]);
    });
  }
});

Deno.test("a file without samples is refused", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("input.wav");
  const good = silentFile(path);
  const play = ["demo", "--fast", "--play", path, "--out", folder.file("out")];
  Deno.writeFileSync(path, good.subarray(0, 44).with(40, 0).with(41, 0));
  await using demo = viola(play);
  await assertFails(demo, 1, /it has no samples$/m);
  Deno.writeFileSync(path, good.subarray(0, 44));
  await using cut = viola(play);
  await assertFails(cut, 1, /it has no samples; .* 16000 more than there are/);
});

Deno.test("a demo does not write over what it plays", async (t) => {
  for (const [name, place] of [["card0.wav", 1], ["card1.wav", 0], ["gong.wav", 0]] as const) {
    await t.step(name, async () => {
      await using folder = await TempFolder.create();
      const path = folder.file(name);
      const before = silentFile(path);
      const other = folder.file("other.wav");
      silentFile(other);
      const play = place === 0 ? ["--play", path] : ["--play", other, "--play", path];
      await using demo = viola(["demo", "--fast", ...play, "--out", folder.path]);
      await assertFails(demo, 1, /the demo would overwrite it/);
      assertEquals(Deno.readFileSync(path), before);
    });
  }
});

Deno.test("a demo reports what is in the way of its output", async (t) => {
  await using folder = await TempFolder.create();
  const at = (name: string) => folder.file(name);
  const sound = silentFile(at("sound.wav"));
  Deno.symlinkSync(at("none/x"), at("dangling"));
  Deno.writeTextFileSync(at("file"), "");
  for (const name of ["a", "b", "c", "d", "e"]) Deno.mkdirSync(at(name));
  Deno.symlinkSync(at("none.wav"), at("a/card1.wav"));
  Deno.mkdirSync(at("b/card0.wav"));
  await new Deno.Command("mkfifo", { args: [at("c/card0.wav")] }).output();
  Deno.linkSync(at("sound.wav"), at("d/card1.wav"));
  Deno.symlinkSync(at("sound.wav"), at("e/gong.wav"));
  const table: [string, number, RegExp][] = [
    ["dangling", 2, /Cannot write to \S*dangling: it is a link to \S*x, which does not exist, exp/],
    ["file", 2, /Cannot write to \S*file: it is a file, expected a folder$/m],
    ["a", 1, /Cannot write \S*card1.wav: it is a link to \S*none.wav, which does not exist, exp/],
    ["b", 1, /Cannot write \S*card0.wav: it is a folder, expected a file or nothing$/m],
    ["c", 1, /Cannot write \S*card0.wav: it is not a regular file, expected a file or nothing$/m],
    [
      "d",
      1,
      /Cannot play \S*sound.wav: the demo would overwrite it; name another folder with --out$/m,
    ],
    [
      "e",
      1,
      /Cannot play \S*sound.wav: the demo would overwrite it; name another folder with --out$/m,
    ],
  ];
  for (const [name, status, message] of table) {
    await t.step(name, async () => {
      const play = ["demo", "--fast", "--play", at("sound.wav"), "--out", at(name)];
      await using demo = viola(play);
      await assertFails(demo, status, message);
      assertEquals(Deno.readFileSync(at("sound.wav")), sound);
    });
  }
});

Deno.test("a demo does not use a TMPDIR that is too long for sockets, and reports one that does not exist", async () => {
  await using folder = await TempFolder.create();
  const long = folder.file("x".repeat(100));
  Deno.mkdirSync(long);
  const env = { TMPDIR: long };
  await using demo = viola(["demo", "--fast", "--out", folder.file("out")], { env });
  assertEquals((await demo.end()).code, 0, demo.report());
  assertEquals([...Deno.readDirSync(long)], []);
  await using lost = viola(["demo", "--fast", "--out", folder.file("out")], {
    env: { TMPDIR: folder.file("none") },
  });
  await assertFails(lost, 2, /Cannot make a temporary folder in \S*\/none: no such .*\(ENOENT\)$/m);
});

Deno.test("help is printed completely, or the failure is reported", async (t) => {
  const table: [string, string, number, RegExp][] = [
    ["a disk that is full", 'exec "$@" >/dev/full', 2, /^viola: Cannot write .*\(ENOSPC\)\n$/],
    ["a reader that is gone", 'exec "$@" > >(:)', 0, /^$/],
    ["a reader that is slow", '"$@" | (sleep 2; cat)', 0, /^$/],
  ];
  for (const [name, script, status, said] of table) {
    await t.step(name, async () => {
      await using process = violaBy(script, ["--help"]);
      assertEquals((await process.end()).code, status, process.report());
      assert(said.test(process.stderr), process.report());
      if (script.endsWith("cat)")) assert(process.stdout.endsWith("running.\n"), process.stdout);
    });
  }
});

/** viola as it is where it was never run: the native part is still to be built, and `HOSTCC` is to do it. */
async function freshViola(folder: TempFolder): Promise<string> {
  const root = new URL("../../../", import.meta.url).pathname;
  const script =
    'cp -r "$1"/cli "$1"/lib "$1"/ffi "$1"/deno.json "$1"/deno.lock "$2" && rm -f "$2"/ffi/*.so';
  await run("bash", ["-c", script, "bash", root, folder.path]);
  return folder.file("cli/main.ts");
}

Deno.test("without a C compiler viola reports in one line what is missing", async (t) => {
  await using folder = await TempFolder.create();
  const main = await freshViola(folder);
  const broken = folder.file("cc");
  await Deno.writeTextFile(
    broken,
    "#!/bin/sh\nprintf 'one\\n  two\\nthree\\nfour\\n' >&2; exit 1\n",
    {
      mode: 0o755,
    },
  );
  const socket = folder.file("s");
  const commands: [string[], number][] = [
    [["demo", "--fast", "--out", folder.file("out")], 2],
    [["device", "rng", "--socket", socket], 2],
    [["attach", "rng", "--socket", socket, "--loopback", "soft:x"], 2],
    [["forget", "soft:x"], 2],
    [["-d", "vhurng", "-s", socket, "-l", "soft:x"], 1],
  ];
  const compilers: [string, RegExp][] = [
    ["/none/cc", /^viola: Cannot build ffi\/shim.c: no C compiler "\/none\/cc" \(apt-get .*\)\n$/],
    [broken, /^viola: Cannot build ffi\/shim.c with \S*: one; two; three\n$/],
  ];
  for (const [compiler, message] of compilers) {
    for (const [args, status] of commands) {
      await t.step(`${args[0]}, ${compiler}`, async () => {
        const env = { HOSTCC: compiler };
        const line = ["run", "-A", "--no-prompt", "--no-check", main, ...args];
        await using process = Process.start(Deno.execPath(), line, { env });
        assertEquals((await process.end()).code, status, process.report());
        assertEquals(process.stdout, "");
        assert(message.test(process.stderr), process.report());
      });
    }
  }
});

Deno.test("where viola's folder is read-only, the native part is built in the user's own cache", async (t) => {
  await using folder = await TempFolder.create();
  const main = await freshViola(folder);
  const ffi = folder.file("ffi");
  const cache = folder.file("cache of mine");
  Deno.chmodSync(ffi, 0o555);
  using _writable = { [Symbol.dispose]: () => Deno.chmodSync(ffi, 0o755) };
  // Root may write wherever it likes, unless it has no such capability.
  const limited = Deno.uid() === 0 ? ["setpriv", "--bounding-set=-dac_override"] : ["env"];
  const caches = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`;
  const DENO_DIR = Deno.env.get("DENO_DIR") ?? `${caches}/deno`;
  const start = async (home: string) => {
    const deno = [Deno.execPath(), "run", "-A", "--no-prompt", "--no-check"];
    const [command = "", ...rest] = [...limited, ...deno, main, "forget", "soft:x"];
    await using process = Process.start(command, rest, { env: { XDG_CACHE_HOME: home, DENO_DIR } });
    await process.end();
    return process.stdout + process.stderr;
  };
  await t.step("there", async () => {
    for (let i = 0; i < 2; i++) assertMatch(await start(cache), /^soft:.*: was not kept$/m);
    assertEquals([...Deno.readDirSync(`${cache}/viola/shim`)].length, 1);
    assertEquals(Deno.statSync(`${cache}/viola/shim`).mode! & 0o777, 0o700);
  });
  await t.step("not where others may write", async () => {
    Deno.chmodSync(`${cache}/viola/shim`, 0o777);
    assertMatch(
      await start(cache),
      /^viola: Cannot build ffi\/shim.c in .*: others may write to it \(run /,
    );
  });
  await t.step("not in a file", async () => {
    assertMatch(
      await start(folder.file("deno.json")),
      /^viola: Cannot build ffi\/shim.c in .*: .*\(run /,
    );
  });
});
