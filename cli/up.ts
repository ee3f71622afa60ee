// SPDX-License-Identifier: Apache-2.0
/**
 * `viola up`: all devices of a scene file, supervised by one process.
 *
 * @module
 */
import type { Command } from "commander";
import type { Bridge, BridgeEvent } from "../lib/bridge/mod.ts";
import { folderOf, makePrivate, sceneControlPath } from "../lib/bridge/store/path.ts";
import type { DeviceEvent, DeviceRole } from "../lib/device/mod.ts";
import { loadSceneClasses, type Scene, type SceneDevice, SOFT } from "../lib/scene/mod.ts";
import { statusHandler } from "../lib/scene/control.ts";
import { InTurn } from "../lib/scene/in_turn.ts";
import { RunningScene, type SceneEvent } from "../lib/scene/run.ts";
import { type DeviceStatus, SceneStatus } from "../lib/scene/status.ts";
import { loadRole } from "../lib/virtio/device_class.ts";
import { reportEvent } from "./attach.ts";
import {
  check,
  Failure,
  load,
  messageOf,
  statusOf,
  step,
  StopSignal,
  UNREACHABLE,
  USAGE,
  usageOf,
} from "./exit.ts";
import { complain, counted, Report } from "./report.ts";
import { readSceneFile } from "./scene_file.ts";
import { partsOf } from "./scene_parts.ts";
import { makeFolder } from "./sockets_folder.ts";
import { loadStoreStarter } from "./store.ts";
import { Systemd } from "./systemd.ts";

/** The options as given. */
export interface UpOptions {
  check?: boolean;
  control?: string;
  json?: boolean;
  untilEof?: boolean;
}

const HELP = `
FILE is TOML, a [[device]] section for each device. Its keys are the options of viola
attach, and, for a device of viola's own, those of viola device CLASS:

  [[device]]
  class = "sound"
  name = "cabin"
  loopback = "/dev/loopback-237"
  sink = "exec:aplay -q -t raw -f $FORMAT -r $RATE -c $CHANNELS"
  priority = 1

  [[device]]
  class = "can"
  loopback = "/dev/loopback-238"
  socket = "/run/can.sock0"
  command = "vhost-device-can --socket-path /run/can.sock --can-devices can0"

  [lane.main]
  cpus = [1]
  realtime = 40

A device without a socket is viola's own. A command is run again when it ends, and a
device that fails is tried again; the others are left alone. After SIGHUP the file is
read again, and only what has changed is started anew. viola schema prints the format.

As a systemd service: Type=notify, WatchdogSec= as you like, FileDescriptorStoreMax=.`;

/** Adds the subcommand. */
export function addUp(program: Command): void {
  program.command("up")
    .description("Run the devices of a scene file, until a signal.")
    .argument("<file>", "the scene, in TOML; or a folder: the scene is all its *.toml")
    .option("--check", "only check the file")
    .option(
      "--control <path>",
      'the socket that viola status asks: by default\n"control" beside the store process\'s',
    )
    .option("--json", "report as JSON lines")
    .option("--until-eof", "end at the end of standard input")
    .addHelpText("after", HELP)
    .action(runUp);
}

async function runUp(path: string, options: UpOptions): Promise<void> {
  const report = new Report(options.json === true);
  const scene = await readDevices(path);
  if (options.check) {
    for (const device of scene.devices) await checkOwn(device);
    const text = `${path} is valid: ${counted(scene.devices.length, "device")}`;
    return report.result({ event: "valid", devices: scene.devices.length }, [text]);
  }
  await up(path, scene, options, report);
}

/** Reads a scene of devices whose drivers are there. @throws {Failure} also for a driver that only a demo starts */
async function readDevices(path: string): Promise<Scene> {
  const scene = await readSceneFile(path, await loadSceneClasses());
  const soft = scene.devices.find(({ attachment: { loopback } }) => loopback === SOFT);
  if (soft === undefined) return scene;
  throw new Failure(
    USAGE,
    `Cannot run ${soft.name}: its loopback is "${SOFT}", a software driver; viola demo ${path} starts that`,
  );
}

/** @throws {Failure} when a device of viola's own cannot be made as the file says */
async function checkOwn({ name, server, attachment }: SceneDevice): Promise<void> {
  if (server.kind === "foreign") return;
  const url = attachment.class.roles.device!.href;
  const role = await load(() => loadRole<DeviceRole>(url, "device"));
  try {
    await check("start the device", () => role.check(server.spec as never));
  } catch (error) {
    throw new Failure(statusOf(error), `${messageOf(error)} (device ${name})`);
  }
}

/** Runs a scene until it is time to end. */
async function up(path: string, scene: Scene, options: UpOptions, report: Report): Promise<void> {
  const hangUp = { act: () => {} };
  using stop = await StopSignal.listen(() => hangUp.act());
  if (options.untilEof) void stop.untilEof();
  await using stack = new AsyncDisposableStack();
  const folder = await makeFolder(stack);
  using systemd = new Systemd((name) => Deno.env.get(name));
  const ready = new Ready(scene.devices.map(({ name }) => name), () => void systemd.ready());
  const status = new SceneStatus();
  const onEvent = (event: BridgeEvent): void => {
    reportEvent(report, event);
    status.see(event);
    ready.see(event.device);
  };
  const bridge = await startBridge(scene, onEvent);
  stack.defer(() => bridge.close());
  await startControl(options.control, stack, () => status.devices(bridge.counters()));
  const running = new RunningScene({
    ...await partsOf(
      bridge,
      stack,
      stop.again,
      (device, event) => reportOwn(report, device, event),
    ),
    report: (event) => {
      reportScene(report, event);
      status.see(event);
      if (event.device !== null) ready.see(event.device);
    },
  }, folder);
  stack.defer(() => running.close());
  hangUp.act = atMostOneWaiting(() => reload(path, running, systemd, report));
  void running.start(scene);
  await stop.stopped();
  hangUp.act = () => {};
  await systemd.stopping();
}

async function startBridge(
  { lanes }: Scene,
  onEvent: (event: BridgeEvent) => void,
): Promise<Bridge> {
  const { Bridge } = await load(() => import("../lib/bridge/mod.ts"));
  const store = { start: await load(loadStoreStarter) };
  const bridge = await step(
    USAGE,
    "set up the lanes",
    () => Bridge.start({ lanes, store, onEvent }),
  );
  await step(USAGE, "set up the lanes", () => bridge.ready());
  return bridge;
}

/** Answers `viola status` and `viola metrics`. */
async function startControl(
  named: string | undefined,
  stack: AsyncDisposableStack,
  devices: () => DeviceStatus[],
): Promise<void> {
  const { Reactor } = await load(() => import("../ffi/mod.ts"));
  const { ControlServer } = await load(() => import("../lib/device/control_server.ts"));
  const path = named ?? sceneControlPath();
  await step(UNREACHABLE, `listen on ${path}`, () => {
    if (named === undefined) makePrivate(folderOf(path));
    const reactor = stack.use(new Reactor());
    const host = {
      watch: reactor.watch.bind(reactor),
      report: ({ text }: { text: string }) => complain(text),
    };
    stack.use(new ControlServer(path, host, statusHandler(devices)));
  });
}

/** Reads the file again. A file with mistakes changes nothing. */
async function reload(
  path: string,
  running: RunningScene,
  systemd: Systemd,
  report: Report,
): Promise<void> {
  try {
    await systemd.reloading();
    await running.change(await readDevices(path));
    report.fact({ event: "reloaded", text: path }, `${path} was read again`);
  } catch (error) {
    const text = messageOf(error);
    const lines = usageOf(error);
    report.problem({ event: "failed", text, lines }, `${text}; the scene stays as it was`, lines);
  } finally {
    await systemd.ready();
  }
}

/** Runs work one time after the other; what is asked for while one run waits is done by that. */
function atMostOneWaiting(work: () => Promise<void>): () => void {
  const turns = new InTurn();
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    void turns.do(() => {
      isWaiting = false;
      return work();
    });
  };
}

/** Whether something is known of every device: then the service is ready, even if one has to wait for its back-end. */
class Ready {
  readonly #missing: Set<string>;

  constructor(devices: readonly string[], readonly onReady: () => void) {
    this.#missing = new Set(devices);
  }

  /** Something happened to a device. */
  see(device: string): void {
    if (this.#missing.delete(device) && this.#missing.size === 0) this.onReady();
  }
}

function reportOwn(
  report: Report,
  device: string,
  { kind, text, quiet, ...data }: DeviceEvent,
): void {
  const fact = { event: kind, device, text, ...data };
  if (kind === "error") report.problem(fact, `${device}: ${text}`);
  else report.fact(fact, quiet === true || text === "" ? "" : `${device}: ${text}`);
}

function reportScene(report: Report, { kind, device, text }: SceneEvent): void {
  const said = device === null ? text : `${device}: ${text}`;
  if (kind === "failed" || kind === "unchanged") {
    report.problem({ event: kind, device, text }, said);
  } else report.fact({ event: kind, device, text }, said);
}
