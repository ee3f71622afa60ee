// SPDX-License-Identifier: Apache-2.0
/**
 * A PipeWire session of a test's own: no hardware, no D-Bus, nothing of the user's settings, one null sink named "card"
 * whose monitor can be recorded.
 *
 * @module
 */
import { Process, run, TempFolder } from "../../support/process.ts";
import { RATE, readNumbered, trailingSilence } from "./numbered.ts";

const PROGRAMS = ["pipewire", "wireplumber", "pw-link", "pw-play", "pw-record"];
const INSTALL = "apt-get install pipewire pipewire-bin wireplumber";

/**
 * Frames that PipeWire moves at a time, the most it takes. Whoever is late by one loses it: on a loaded machine with
 * the usual 1024 that happens every few minutes.
 */
export const QUANTUM = 8192;

/** The sink, made by the server itself at its start. */
const CARD = `context.properties = {
  default.clock.quantum = ${QUANTUM}
  default.clock.min-quantum = ${QUANTUM}
  default.clock.max-quantum = ${QUANTUM}
  vm.overrides = { default.clock.min-quantum = ${QUANTUM} }
}
context.objects = [ {
  factory = adapter
  args = {
    factory.name = support.null-audio-sink
    node.name = card
    media.class = Audio/Sink
    audio.position = [ FL FR ]
    monitor.channel-volumes = false
  }
} ]
`;

/** WirePlumber 0.4 is told in Lua to leave the hardware and D-Bus alone, 0.5 in its configuration's own format. */
const CONFIG: Record<string, string> = {
  "pipewire/pipewire.conf.d/card.conf": CARD,
  "wireplumber/main.lua.d/60-no-hardware.lua": `alsa_monitor.enabled = false
v4l2_monitor.enabled = false
libcamera_monitor.enabled = false
default_access.properties["enable-flatpak-portal"] = false
`,
  "wireplumber/bluetooth.lua.d/60-no-hardware.lua": "bluez_monitor.enabled = false\n",
  "wireplumber/wireplumber.conf.d/no-hardware.conf": `wireplumber.profiles = {
  main = {
    hardware.audio = disabled
    hardware.bluetooth = disabled
    hardware.video-capture = disabled
    support.logind = disabled
    support.portal-permissionstore = disabled
    support.reserve-device = disabled
  }
}
`,
};

/** A running session; disposing of it ends all of it. */
export class PipeWireSession implements AsyncDisposable {
  #processes = new AsyncDisposableStack();
  /** A folder of the session's own, for the test's files too. */
  readonly folder: TempFolder;
  /** What a program needs in its environment to find this session, and no other. */
  readonly env: Record<string, string>;

  private constructor(folder: TempFolder) {
    this.#processes.use(folder);
    this.folder = folder;
    this.env = {
      XDG_RUNTIME_DIR: folder.path,
      PIPEWIRE_RUNTIME_DIR: folder.path,
      PIPEWIRE_REMOTE: "pipewire-0",
      XDG_CONFIG_HOME: folder.file("config"),
      XDG_STATE_HOME: folder.file("state"),
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${folder.file("no-bus")}`,
    };
  }

  /**
   * Starts server and session manager, and waits until the sink is there.
   *
   * @throws {Error} when PipeWire is not installed, with the command that installs it, or does not start
   */
  static async start(): Promise<PipeWireSession> {
    const session = new PipeWireSession(await TempFolder.create());
    try {
      await session.#start();
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
    return session;
  }

  async #start(): Promise<void> {
    for (const program of PROGRAMS) {
      await run(program, ["--version"]).catch((cause) => {
        throw new Error(`Cannot run ${program}: not installed? Run: ${INSTALL}`, { cause });
      });
    }
    for (const [name, text] of Object.entries(CONFIG)) {
      const path = this.folder.file(`config/${name}`);
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(path, text);
    }
    const server = this.spawn("pipewire", []);
    await server.until(() => exists(this.folder.file("pipewire-0")), "PipeWire's socket");
    const manager = this.spawn("wireplumber", []);
    // The session manager is what makes ports, so that they are there says that it is at work.
    await manager.until(() => this.#hasPort("card:monitor_FR"), "the sink's ports");
  }

  async #hasPort(port: string): Promise<boolean> {
    const ports = await run("pw-link", ["-o", "-i"], { env: this.env });
    return ports.split("\n").includes(port);
  }

  /**
   * Starts a program in this session; it ends with the session, at the latest. It runs before others where that is
   * permitted: who is late loses samples.
   */
  spawn(program: string, args: string[], env: Record<string, string> = {}): Process {
    const command = ["-n", "-15", program, ...args];
    const options = { env: { ...this.env, ...env } };
    return this.#processes.use(Process.start("nice", command, options));
  }

  /** Begins to record what the sink plays; once this has returned nothing is missed. */
  async record(): Promise<Recording> {
    const file = this.folder.file("recording.wav");
    const format = ["--rate", `${RATE}`, "--channels", "2", "--format", "s16"];
    const monitor = ["--target", "card", "-P", "{ stream.capture.sink=true }"];
    const recorder = this.spawn("pw-record", [...monitor, ...format, file]);
    // Its file grows with the first samples it hears: silence, as nothing plays yet.
    await recorder.until(() => exists(file) && readNumbered(file).length > 0, "the recording");
    return new Recording(file, recorder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processes.disposeAsync();
  }
}

/** What is being recorded of the sink's monitor. */
export class Recording {
  constructor(readonly file: string, readonly recorder: Process) {}

  /**
   * Waits until there was sound and then half a second of silence, and ends the recording.
   *
   * @returns all frames recorded
   */
  async finish(): Promise<Uint32Array> {
    const isOver = async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const frames = readNumbered(this.file);
      const silence = trailingSilence(frames);
      return silence >= RATE / 2 && silence < frames.length;
    };
    await this.recorder.until(isOver, "silence after the sound", 60_000);
    await this.recorder.stop("SIGINT");
    return readNumbered(this.file);
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
