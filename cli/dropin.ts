// SPDX-License-Identifier: Apache-2.0
/**
 * The command line of AGL's C program `virtio-loopback-adapter`, so that viola can replace it: same options, exit
 * status 1 for every failure. No package is loaded on this path.
 *
 * @module
 */
import {
  DEVICE_CLASSES,
  deviceClassByDropInName,
  deviceClassById,
  UNSERVED_DROP_INS,
  type UnservedDropIn,
} from "../lib/classes/mod.ts";
import type { DeviceClass } from "../lib/virtio/device_class.ts";
import { attach, type AttachPlan } from "./attach.ts";
import { Failure, messageOf, StopSignal, USAGE } from "./exit.ts";
import { oneOf } from "./options.ts";
import { Report } from "./report.ts";

/** The C program's name: an executable of this name takes its command line. */
export const C_PROGRAM = "virtio-loopback-adapter";

const SERVED = DEVICE_CLASSES.flatMap((row) => row.dropInNames);

/** The usage text, for bad arguments. */
export const DROP_IN_USAGE = `Usage: ${C_PROGRAM} -d DEVICE -s SOCKET [-l N] [-qn N -qs N]
  -d   the device: ${SERVED.join(", ")}
  -s   the back-end's Unix socket, waited for up to 5 s
  -l   the N of /dev/loopback-N, or soft:PATH; without it /dev/loopback
  -qn  number of queues (1 to 16), -qs their size (1 to 1024): accepted and ignored, as they
       are for vhublk
The node is kept open for the next viola, as by viola attach; viola forget closes it.`;

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
  const deviceClass = classOf(given.get("-d"));
  const { name } = deviceClass;
  checkNumber(given, "-qn", 1, 16);
  checkNumber(given, "-qs", 1, 1024);
  const socket = given.get("-s") ?? refuse("Cannot start: -s SOCKET is missing");
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
  const unserved = UNSERVED_DROP_INS.find(({ name }) => name === device);
  if (unserved !== undefined) throw new Failure(USAGE, whyUnserved(unserved));
  return deviceClassByDropInName(device) ??
    refuse(`Cannot serve "${device}": it is not a device, expected ${oneOf(SERVED)}`);
}

/** For some classes only the C program's built-in device is missing. */
function whyUnserved({ name, id }: UnservedDropIn): string {
  const [instead] = deviceClassById(id)?.dropInNames ?? [];
  return instead === undefined
    ? `Cannot serve ${name}: this version has no such device yet, expected ${oneOf(SERVED)}`
    : `Cannot serve ${name}: that device is built into the C program; use -d ${instead} with a vhost-user back-end`;
}

function checkNumber(given: Map<Option, string>, option: Option, min: number, max: number): void {
  const text = given.get(option);
  if (text === undefined) return;
  if (!/^\d+$/.test(text) || Number(text) < min || Number(text) > max) {
    refuse(`Cannot understand ${option} "${text}": expected a number from ${min} to ${max}`);
  }
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
  throw new Failure(USAGE, `${message}\n${DROP_IN_USAGE}`);
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
    await attach(plan, new Report(false), stop);
  } catch (error) {
    throw new Failure(USAGE, messageOf(error));
  }
}
