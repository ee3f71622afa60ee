// SPDX-License-Identifier: Apache-2.0
/**
 * `viola attach`: connects loopback devices to vhost-user back-ends, several in one process.
 *
 * @module
 */
import type { Command } from "commander";
import type {
  BackEndPatience,
  BridgeDeviceOptions,
  BridgeEvent,
  LaneOptions,
  MmioVersion,
} from "../lib/bridge/mod.ts";
import { DEVICE_CLASSES, deviceClassByName } from "../lib/classes/mod.ts";
import type { DeviceClass } from "../lib/virtio/device_class.ts";
import {
  check,
  FAILED,
  Failure,
  load,
  messageOf,
  step,
  StopSignal,
  UNREACHABLE,
  USAGE,
} from "./exit.ts";
import { choice, collect, forEach, oneEach, whole, wholes } from "./options.ts";
import { oneOf } from "../lib/scene/words.ts";
import { otherClasses, type OtherOptions } from "./other_class.ts";
import { loadStoreStarter } from "./store.ts";
import { Report } from "./report.ts";

/** The devices to attach, and the options. */
export interface AttachPlan {
  devices: (BridgeDeviceOptions & { name: string })[];
  lanes: LaneOptions[];
  /** Deadlines of back-ends for requests. */
  patience?: Partial<BackEndPatience>;
  /** How long each back-end may take to answer for the first time, in milliseconds. Absent: any time. */
  backEndMs?: number;
}

/** The options as given; each may occur several times. */
export interface AttachOptions extends OtherOptions {
  socket?: string[];
  loopback?: string[];
  memory?: string[];
  mmioVersion?: string[];
  priority?: string[];
  lane?: string[];
  cpus?: string[];
  realtime?: string[];
  streamLimit?: string;
  requestLimit?: string;
  keep?: boolean;
  json?: boolean;
  untilEof?: boolean;
}

const HELP = `
The n-th --socket and --loopback are for the n-th CLASS. Each other option may be given
once, for all devices, or once for each, in the same order:
  viola attach sound sound --socket /run/s0 --loopback /dev/loopback-237 \\
    --socket /run/s1 --loopback /dev/loopback-238 --priority 0 --priority 1
soft:PATH is a loopback device in software, such as viola demo makes for its driver.

Back-ends may start later, end, and start again; with isolated memory nothing is lost.

When viola ends, nodes of AGL's driver are kept open (soft: nodes with --keep). The next
viola that attaches such a node restores the device, and the driver does not notice. Until
then a descriptor store holds the node: systemd, if the service's unit has
FileDescriptorStoreMax=16 and Type=simple, until the service is stopped; else a process
of viola at /run/viola/store, until viola forget NODE.`;

/** Adds the subcommand. */
export function addAttach(program: Command): void {
  const command = program.command("attach")
    .description("Connect loopback devices to vhost-user back-ends, all in one process.")
    .argument("[class...]", `one for each device: ${oneOf(CLASS_NAMES)}`)
    .option("--socket <path>", "the back-end's Unix socket (required)", collect)
    .option("--loopback <node>", "/dev/loopback-N, /dev/loopback or soft:PATH (required)", collect)
    .option(
      "--memory <mode>",
      "isolated: back-ends see copies (the default);\ndirect: they map the driver's memory",
      collect,
    )
    .option(
      "--mmio-version <version>",
      "version of the registers: 1, 2 or auto (default):\n2 if the back-end offers VIRTIO_F_VERSION_1",
      collect,
    )
    .option("--priority <n>", "a higher number is served first in its lane (0)", collect)
    .option("--lane <name>", "devices of one lane share two threads (main)", collect)
    .option("--cpus <list>", "CPUs for the device's lane, such as 1,2", collect)
    .option("--realtime <n>", "real-time priority for the device's lane, 1 to 99", collect)
    .option(
      "--stream-limit <s>",
      "disconnect a back-end after so many seconds without\nprogress of a running stream (5)",
    )
    .option(
      "--request-limit <s>",
      "disconnect a back-end of a device without streams\nafter so many seconds without a completed request\n(never, while its socket answers)",
    )
    .option(
      "--keep",
      "let the next viola restore the device: the default\nfor AGL's nodes",
    )
    .option(
      "--no-keep",
      "close the nodes at the end. A second after an AGL\nnode is closed its driver makes the kernel oops;\nit is unusable until the machine is restarted",
    )
    .addHelpText("after", HELP)
    .action(runAttach);
  addForeignOptions(command)
    .option("--json", "report as JSON lines, with counters at the end")
    .option("--until-eof", "end at the end of standard input");
}

/** Adds the options of devices of classes that are not in the list. */
function addForeignOptions(command: Command): Command {
  return command
    .option(
      "--virtio-id <n>",
      "a device of any other class, by its virtio id,\nafter those that are named",
      collect,
    )
    .option("--queues <sizes>", "sizes of its queues, such as 64,64", collect)
    .option("--config-size <n>", "bytes of its config space, if its back-end has one", collect)
    .option("--config <file>", "or the config space itself", collect);
}

async function runAttach(classes: string[], options: AttachOptions): Promise<void> {
  const plan = planAttach(classes, options);
  using stop = await StopSignal.listen();
  if (options.untilEof === true) void stop.untilEof();
  await attach(plan, new Report(options.json === true), stop);
}

const CLASS_NAMES = DEVICE_CLASSES.map(({ name }) => name);

/**
 * Makes a plan from a command line.
 *
 * @param named The CLASS arguments
 * @throws {Failure} with status 1 when it is invalid
 */
export function planAttach(named: readonly string[], options: AttachOptions): AttachPlan {
  const classes = [...named.map(readClass), ...otherClasses(options)];
  const names = classes.map(({ name }) => name);
  const n = classes.length;
  if (n === 0) {
    throw new Failure(USAGE, "Cannot attach: no CLASS is given (see viola attach --help)");
  }
  const sockets = oneEach("--socket", options.socket, n);
  const loopbacks = oneEach("--loopback", options.loopback, n);
  const memories = forEach("--memory", options.memory, n, "isolated" as const, readMemory);
  const versions = forEach("--mmio-version", options.mmioVersion, n, "auto" as const, readVersion);
  const priorities = forEach("--priority", options.priority, n, 0, readPriority);
  const lanes = forEach("--lane", options.lane, n, "main", (text) => text);
  return {
    devices: classes.map((deviceClass, i) => ({
      name: deviceName(names, i),
      class: deviceClass,
      socket: sockets[i]!,
      loopback: loopbacks[i]!,
      memory: memories[i]!,
      mmioVersion: versions[i]!,
      priority: priorities[i]!,
      lane: lanes[i]!,
      ...(options.keep === undefined ? {} : { keep: options.keep }),
    })),
    lanes: planLanes(lanes, options),
    ...planPatience(options),
  };
}

/** The back-end's limits, where given. */
function planPatience({ streamLimit, requestLimit }: AttachOptions): Pick<AttachPlan, "patience"> {
  const patience = {
    ...(streamLimit === undefined ? {} : { streamMs: seconds("--stream-limit", streamLimit) }),
    ...(requestLimit === undefined ? {} : { requestMs: seconds("--request-limit", requestLimit) }),
  };
  return Object.keys(patience).length === 0 ? {} : { patience };
}

/** An option in seconds, as milliseconds. */
function seconds(option: string, text: string): number {
  return 1000 * whole(option, text, 1, 86_400);
}

/** "sound" for the only device of its class, else "sound0", "sound1" … */
function deviceName(names: readonly string[], i: number): string {
  const name = names[i]!;
  const alone = names.indexOf(name) === names.lastIndexOf(name);
  const before = names.slice(0, i).filter((other) => other === name).length;
  return alone ? name : `${name}${before}`;
}

function readClass(text: string): DeviceClass {
  const found = deviceClassByName(text);
  if (found !== undefined) return found;
  throw new Failure(
    USAGE,
    `Cannot attach "${text}": it is not a device class, expected ${oneOf(CLASS_NAMES)}`,
  );
}

function readMemory(text: string): "isolated" | "direct" {
  return choice("--memory", text, ["isolated", "direct"]);
}

function readVersion(text: string): MmioVersion {
  const version = choice("--mmio-version", text, ["1", "2", "auto"]);
  return version === "auto" ? version : version === "1" ? 1 : 2;
}

function readPriority(text: string): number {
  return whole("--priority", text, -100, 100);
}

/** The lanes of the devices, with their CPUs and real-time priorities. */
function planLanes(names: readonly string[], options: AttachOptions): LaneOptions[] {
  const n = names.length;
  const cpus = forEach("--cpus", options.cpus, n, null, (text) => wholes("--cpus", text, 0, 52));
  const realtime = forEach(
    "--realtime",
    options.realtime,
    n,
    null,
    (text) => whole("--realtime", text, 1, 99),
  );
  const lanes = new Map<string, LaneOptions>();
  names.forEach((name, i) => {
    const lane = {
      name,
      ...(cpus[i] != null ? { cpus: cpus[i] } : {}),
      ...(realtime[i] != null ? { realtime: realtime[i] } : {}),
    };
    const same = lanes.get(name);
    if (same !== undefined && JSON.stringify(same) !== JSON.stringify(lane)) {
      throw new Failure(
        USAGE,
        `Cannot set up lane "${name}": its devices disagree about --cpus or --realtime`,
      );
    }
    lanes.set(name, lane);
  });
  return [...lanes.values()];
}

/**
 * Attaches devices and serves them until a signal. A device that fails does not end the others: their nodes of the AGL
 * driver could not be opened again.
 *
 * @throws {Failure} with status 1 for an invalid plan, 2 when a node or back-end cannot be reached, 3 when the last
 * device fails later
 */
export async function attach(plan: AttachPlan, report: Report, stop: StopSignal): Promise<void> {
  const { Bridge } = await load(() => import("../lib/bridge/mod.ts"));
  const { checkLoopback } = await load(() => import("../lib/loopback/mod.ts"));
  for (const { loopback } of plan.devices) {
    await check(`open ${loopback}`, () => checkLoopback(loopback));
  }
  const answers = new Answers();
  const onEvent = (event: BridgeEvent) => {
    answers.see(event);
    reportEvent(report, event);
  };
  const store = { start: await load(loadStoreStarter) };
  const { lanes, patience } = plan;
  const start = () => Bridge.start({ lanes, store, onEvent, patience });
  const bridge = await step(USAGE, "set up the lanes", start);
  try {
    const devices = await check("attach", () => plan.devices.map((device) => bridge.add(device)));
    await step(USAGE, "set up the lanes", () => bridge.ready());
    const ends = devices.map(({ name, done }) =>
      done.catch((error) => {
        throw new Failure(answers.hasStarted(name) ? FAILED : UNREACHABLE, messageOf(error));
      })
    );
    const late = plan.backEndMs === undefined ? [] : [answers.late(plan, plan.backEndMs)];
    await Promise.race([stop.stopped(), lastFailure(ends, report), ...late]);
  } finally {
    answers.close();
    report.object({ event: "counters", devices: bridge.counters() });
    await bridge.close();
  }
}

/** Waits for the last device to fail; earlier failures are only reported. */
function lastFailure(ends: readonly Promise<void>[], report: Report): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  let left = ends.length;
  for (const end of ends) {
    end.catch((failure: Failure) => {
      if (--left === 0) return reject(failure);
      report.problem({ event: "failed", text: failure.message }, failure.message);
    });
  }
  return promise;
}

/** Which devices have connected and started. */
class Answers {
  #started = new Set<string>();
  #connected = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  see({ device, kind }: BridgeEvent): void {
    if (kind === "connected") this.#connected.add(device);
    if (kind === "started") this.#started.add(device);
  }

  hasStarted(device: string): boolean {
    return this.#started.has(device);
  }

  /** Rejects when a back-end has not answered after `ms` milliseconds. */
  late({ devices }: AttachPlan, ms: number): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#timer = setTimeout(() => {
      const silent = devices.find(({ name }) => !this.#connected.has(name));
      if (silent === undefined) return;
      const text = `Cannot reach ${silent.socket}: no back-end answered within ${ms / 1000} s`;
      reject(new Failure(UNREACHABLE, text));
    }, ms);
    return promise;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

const PROBLEMS: readonly BridgeEvent["kind"][] = ["waiting", "lost", "error"];

/** Reports what happened to an attached device. */
export function reportEvent(report: Report, { kind, device, text, ms }: BridgeEvent): void {
  const fact = { event: kind, device, text, ms };
  if (PROBLEMS.includes(kind)) report.problem(fact, `${device}: ${text}`);
  else report.fact(fact, `${(ms / 1000).toFixed(3)} s  ${device}: ${text}`);
}
