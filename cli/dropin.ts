// SPDX-License-Identifier: Apache-2.0
/**
 * The command line of AGL's C program `virtio-loopback-adapter`, so that viola can replace it: same options, exit
 * status 1 for every failure. No package is loaded on this path.
 *
 * @module
 */
import { F_MQ } from "../lib/classes/block/wire.ts";
import { block, DEVICE_CLASSES, deviceClassByDropInName, rng } from "../lib/classes/mod.ts";
import type { DeviceClass } from "../lib/virtio/device_class.ts";
import { bit } from "../lib/virtio/features.ts";
import { isQueueSize } from "../lib/virtio/state.ts";
import { attach, type AttachPlan } from "./attach.ts";
import { Failure, load, messageOf, StopSignal, USAGE } from "./exit.ts";
import { makeFolder } from "./sockets_folder.ts";
import { oneOf } from "../lib/scene/words.ts";
import { Report } from "./report.ts";

/** The C program's name: an executable of this name takes its command line. */
export const C_PROGRAM = "virtio-loopback-adapter";

const SERVED = DEVICE_CLASSES.flatMap((row) => row.dropInNames);

/** The usage text, for bad arguments. */
export const DROP_IN_USAGE = `Usage: ${C_PROGRAM} -d DEVICE -s SOCKET [-l N] [-qn N -qs N]
  -d   the device: ${SERVED.join(", ")};
       or vrng, a source of entropy in this process, without -s
  -s   the back-end's Unix socket, waited for up to 5 s
  -l   the N of /dev/loopback-N, or soft:PATH; without it /dev/loopback
  -qn  number of vhublk's queues: 1, or 2 to 16 for as many as the back-end has
  -qs  size of each, a power of 2 up to 1024
       -qn and -qs count only together, and only for vhublk
The node is kept open for the next viola, as by viola attach; viola forget closes it.`;

/** The C program's own device. */
const OWN_RNG = "vrng";

/** How long to wait for the back-end, in milliseconds. */
const BACK_END_MS = 5000;

const OPTIONS = ["-d", "-s", "-l", "-qn", "-qs"] as const;
type Option = typeof OPTIONS[number];

/** Whether a command line is one for the C program, by the executable's name or the first option. */
export function isDropIn(executable: string, args: readonly string[]): boolean {
  return executable.split("/").at(-1) === C_PROGRAM || OPTIONS.includes(args[0] as Option);
}

/**
 * Reads the C program's command line.
 *
 * @throws {Failure} with the error and the usage text
 */
export function parseDropIn(args: readonly string[]): AttachPlan {
  const given = collect(args);
  const found = classOf(given.get("-d"));
  const { name } = found;
  const deviceClass = withQueues(
    found,
    readNumber(given, "-qn", 1, 16),
    readNumber(given, "-qs", 1, 1024),
  );
  const isOwn = given.get("-d") === OWN_RNG;
  const socket = isOwn ? "" : given.get("-s") ?? refuse("Cannot start: -s SOCKET is missing");
  const loopback = loopbackOf(given.get("-l"));
  return {
    devices: [{
      name,
      class: deviceClass,
      socket,
      loopback,
      memory: "isolated",
      mmioVersion: "auto",
      priority: 0,
      lane: "main",
    }],
    lanes: [{ name: "main" }],
    backEndMs: BACK_END_MS,
  };
}

function collect(args: readonly string[]): Map<Option, string> {
  const given = new Map<Option, string>();
  for (let i = 0; i < args.length; i += 2) {
    const option = args[i] as Option;
    if (!OPTIONS.includes(option)) refuse(`Cannot understand "${option}"`);
    const value = args[i + 1];
    if (value === undefined || value === "") refuse(`Cannot understand ${option}: it has no value`);
    if (given.has(option)) refuse(`Cannot understand a second ${option}: expected one device`);
    given.set(option, value);
  }
  return given;
}

function classOf(device: string | undefined): DeviceClass {
  if (device === undefined) refuse("Cannot start: -d DEVICE is missing");
  if (device === OWN_RNG) return rng;
  return deviceClassByDropInName(device) ??
    refuse(`Cannot serve "${device}": it is not a device, expected ${oneOf(SERVED)}`);
}

function readNumber(
  given: Map<Option, string>,
  option: Option,
  min: number,
  max: number,
): number | undefined {
  const text = given.get(option);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= min && number <= max) return number;
  return refuse(`Cannot understand ${option} "${text}": expected a number from ${min} to ${max}`);
}

/** A disk with queues as asked for; both numbers are needed, as in the C program. */
function withQueues(found: DeviceClass, count?: number, size?: number): DeviceClass {
  if (found !== block || count === undefined || size === undefined) return found;
  if (!isQueueSize(size)) refuse(`Cannot use -qs ${size}: expected a power of 2`);
  const masked = count === 1 ? bit(F_MQ) : 0n;
  return {
    ...block,
    masked: block.masked | masked,
    queues: ({ features, ...rest }) =>
      block.queues({ ...rest, features: features & ~masked }).map((queue) => ({ ...queue, size })),
  };
}

function loopbackOf(text: string | undefined): string {
  if (text === undefined) return "/dev/loopback";
  if (/^soft:./.test(text)) return text;
  if (!/^\d{1,4}$/.test(text)) {
    refuse(`Cannot understand -l "${text}": expected the N of /dev/loopback-N, or soft:PATH`);
  }
  return `/dev/loopback-${Number(text)}`;
}

function refuse(message: string): never {
  throw new Failure(USAGE, message, DROP_IN_USAGE.split("\n"));
}

/** Starts viola's own source of entropy. @returns the path of its socket */
async function startRng(stack: AsyncDisposableStack): Promise<string> {
  const { startDevice } = await load(() => import("../lib/device/mod.ts"));
  const socket = `${await makeFolder(stack)}/vrng`;
  stack.use(await startDevice(rng, { socket }));
  return socket;
}

/**
 * Runs as the C program would, until a signal ends it.
 *
 * @throws {Failure} with status 1 for every failure
 */
export async function runDropIn(args: readonly string[]): Promise<void> {
  const plan = parseDropIn(args);
  try {
    using stop = await StopSignal.listen();
    await using stack = new AsyncDisposableStack();
    for (const device of plan.devices) {
      if (device.socket === "") device.socket = await startRng(stack);
    }
    await attach(plan, new Report(false), stop);
  } catch (error) {
    throw new Failure(USAGE, messageOf(error));
  }
}
