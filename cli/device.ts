// SPDX-License-Identifier: Apache-2.0
/**
 * `viola device`: one of viola's own vhost-user devices, as a process.
 *
 * @module
 */
import { type Command, Option } from "commander";
import type { CliOption, CliRole, CliValues } from "../lib/device/cli_role.ts";
import type { DeviceEvent } from "../lib/device/mod.ts";
import { loadSceneClasses, type SceneClass } from "../lib/scene/classes.ts";
import type { DeviceClass } from "../lib/virtio/device_class.ts";
import { check, Failure, load, step, StopSignal, UNREACHABLE, USAGE } from "./exit.ts";
import { choice, collect, whole } from "./options.ts";
import { oneOf } from "../lib/scene/words.ts";
import { complaints, Report, said } from "./report.ts";

/** The options of every device, as given. */
export interface DeviceOptions {
  socket?: string;
  socketPath?: string;
  socketFd?: string;
  printCapabilities?: boolean;
  json?: boolean;
  untilEof?: boolean;
}

/** Those with an embedded device. */
async function loadChoices(): Promise<readonly SceneClass[]> {
  const all = await loadSceneClasses();
  return all.filter(({ deviceClass: { roles } }) => roles.device !== undefined);
}

/** Adds the subcommand. */
export async function addDevice(program: Command): Promise<void> {
  const choices = await loadChoices();
  const command = program.command("device")
    .description("Run a vhost-user device, for one front-end after another.")
    .argument("<class>", oneOf(choices.map(({ deviceClass }) => deviceClass.name)))
    .option("--socket <path>", "Unix socket to listen on; --socket-path is the same")
    .addOption(new Option("--socket-path <path>").hideHelp())
    .option(
      "--socket-fd <n>",
      "or a listening socket that viola was started with;\nby default that of the service (Sockets= in its unit)",
    )
    .option(
      "--print-capabilities",
      "print what the device is, as QEMU's vhost-user.json\nhas it, and end",
    )
    .option("--json", "report as JSON lines")
    .option("--until-eof", "end at the end of standard input");
  for (const option of optionsOf(choices)) command.addOption(option);
  command
    .addHelpText("after", ({ command: { args } }) => helpOf(choices, args))
    .action(async (name: string, options: DeviceOptions & CliValues) => {
      if (options.printCapabilities) printCapabilities(choices, name);
      else await runDevice(planDevice(choices, name, options), options);
    });
}

/** What a program that looks for back-ends asks each of them. */
function printCapabilities(choices: readonly SceneClass[], name: string): void {
  choice("CLASS", name, choices.map(({ deviceClass }) => deviceClass.name));
  said.owe(`${JSON.stringify({ type: name, features: [] })}\n`);
}

/** The options of all classes, each once; the help lists them by class. */
function optionsOf(choices: readonly SceneClass[]): Option[] {
  const all = new Map(choices.flatMap(({ cli }) => cli.options.map((one) => [one.flags, one])));
  return all.values().map((one) => {
    const option = new Option(one.flags).hideHelp();
    return one.repeatable ? option.argParser(collect) : option;
  }).toArray();
}

/** Width of the column of options, as in commander's help. */
const COLUMN = 21;

/** The options of the class that the command line names, or else of all. */
function helpOf(choices: readonly SceneClass[], args: readonly string[]): string {
  const named = choices.filter(({ deviceClass: { name } }) => args.includes(name)).slice(0, 1);
  return (named.length === 0 ? choices : named).map(helpOfClass).join("");
}

function helpOfClass(
  { deviceClass: { name, summary }, cli: { options, help } }: SceneClass,
): string {
  if (options.length === 0) return `\n${name}, ${summary}, has no options of its own.\n`;
  const lines = options.map(({ flags, description }) =>
    `  ${flags.padEnd(COLUMN - 2)}${description.replaceAll("\n", `\n${" ".repeat(COLUMN)}`)}`
  );
  return `\nOptions of ${name}, ${summary}:\n${lines.join("\n")}\n${
    help === undefined ? "" : `${help}\n`
  }`;
}

/** A device to run. */
interface DevicePlan {
  readonly deviceClass: DeviceClass;
  readonly spec: { readonly socket: string };
  /** Standard input and output are the device's. */
  readonly usesStdio: boolean;
}

/** Makes a plan from a command line. @throws {Failure} with status 1 when it is invalid */
function planDevice(
  choices: readonly SceneClass[],
  name: string,
  options: DeviceOptions & CliValues,
): DevicePlan {
  const names = choices.map(({ deviceClass }) => deviceClass.name);
  choice("CLASS", name, names);
  const { deviceClass, cli } = choices[names.indexOf(name)]!;
  const socket = socketOf(options);
  for (const other of choices) refuseOptions(other, cli, name, options);
  const values = valuesOf(cli.options, options);
  const usesStdio = cli.usesStdio?.(values) === true;
  if (usesStdio && options.untilEof === true) {
    throw new Failure(USAGE, "Cannot use --until-eof: standard input is the device's");
  }
  return { deviceClass, spec: { ...cli.parse(values), socket }, usesStdio };
}

/** Where to listen: a path, or `fd:N`. @throws {Failure} unless it is given in one way */
function socketOf({ socket, socketPath, socketFd }: DeviceOptions): string {
  const fd = socketFd === undefined ? undefined : whole("--socket-fd", socketFd, 0, MAX_FD);
  const given = [socket, socketPath, fd === undefined ? undefined : `fd:${fd}`]
    .filter((one) => one !== undefined);
  if (given.length > 1) {
    throw new Failure(
      USAGE,
      "Cannot listen at several places: expected one of --socket, --socket-path and --socket-fd",
    );
  }
  const [place = serviceSocket()] = given;
  if (place !== undefined) return place;
  throw new Failure(USAGE, "Cannot start the device: --socket is missing");
}

/** The largest descriptor that Linux has. */
const MAX_FD = 2 ** 20;

/** The socket of a service that systemd activates by one (sd_listen_fds(3)): its first descriptor, number 3. */
function serviceSocket(): string | undefined {
  const isOurs = Number(Deno.env.get("LISTEN_PID")) === Deno.pid;
  return isOurs && Number(Deno.env.get("LISTEN_FDS")) >= 1 ? "fd:3" : undefined;
}

/** @throws {Failure} when an option of another class is given */
function refuseOptions(other: SceneClass, cli: CliRole, name: string, options: CliValues): void {
  const own = new Set(cli.options.map(({ flags }) => flags));
  for (const { flags } of other.cli.options) {
    if (own.has(flags) || options[new Option(flags).attributeName()] === undefined) continue;
    const { name: otherName } = other.deviceClass;
    const { long } = new Option(flags);
    throw new Failure(USAGE, `Cannot use ${long} with ${name}: it is for ${otherName}`);
  }
}

/** Checks and converts the values of options. @throws {Failure} */
function valuesOf(options: readonly CliOption[], given: CliValues): CliValues {
  const values: Record<string, CliValues[string]> = {};
  for (const { flags, choices, range } of options) {
    const option = new Option(flags);
    const name = option.attributeName();
    const value = given[name];
    const isText = typeof value === "string";
    if (isText && choices !== undefined) choice(option.long!, value, choices);
    if (value === undefined) continue;
    values[name] = isText && range !== undefined ? whole(option.long!, value, ...range) : value;
  }
  return values;
}

/**
 * Runs a device until a signal.
 *
 * @throws {Failure} with status 1 for an invalid device, 2 when it cannot listen, 3 when it fails later
 */
async function runDevice(plan: DevicePlan, options: DeviceOptions): Promise<void> {
  const { deviceClass, spec, usesStdio } = plan;
  const report = new Report(options.json === true, usesStdio ? complaints : said);
  using stop = await StopSignal.listen();
  if (options.untilEof) void stop.untilEof();
  const { SpecError, startDevice } = await load(() => import("../lib/device/mod.ts"));
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {}); // it may fail while it is being closed
  const refuse = (error: Error): Promise<never> => {
    if (!SpecError.is(error)) throw error;
    return check("start the device", () => Promise.reject(error));
  };
  const onEvent = (event: DeviceEvent) => reportEvent(report, event);
  const device = await step(
    UNREACHABLE,
    `listen on ${spec.socket}`,
    () => startDevice(deviceClass, spec, { onEvent, onFailure: reject }).catch(refuse),
  );
  try {
    await Promise.race([stop.stopped(), failed]);
  } finally {
    await device.close(stop.again);
  }
}

function reportEvent(report: Report, { kind, text, quiet, ...data }: DeviceEvent): void {
  const fact = { event: kind, text, ...data };
  if (kind === "error") report.problem(fact, text);
  else report.fact(fact, quiet === true ? "" : text);
}
