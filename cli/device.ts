// SPDX-License-Identifier: Apache-2.0
/**
 * `viola device`: a vhost-user device of viola's own, as a process of its own.
 *
 * @module
 */
import type { Command } from "commander";
import { deviceClassByName } from "../lib/classes/mod.ts";
import type { SoundSpec } from "../lib/classes/sound/spec.ts";
import type { DeviceEvent } from "../lib/device/mod.ts";
import type { DeviceClass } from "../lib/virtio/device_class.ts";
import { check, Failure, load, step, StopSignal, UNREACHABLE, USAGE } from "./exit.ts";
import { choice, collect, whole } from "./options.ts";
import { Report } from "./report.ts";

/** As they are given. */
export interface DeviceOptions {
  socket?: string;
  sink?: string[];
  source?: string[];
  pace?: string;
  latency?: string;
  grace?: string;
  json?: boolean;
  untilEof?: boolean;
}

const EXAMPLES = `
--sink, --source, --pace, --latency and --grace are sound's. A card that is given neither
sinks nor sources has one stream of each: null, which drops what is played, and silence.

exec: gives COMMAND raw samples on its standard input, or hears its standard output;
$RATE, $CHANNELS, $BITS and the format's names tell it what they are: $FORMAT for aplay,
$PW_FORMAT for pw-cat, $SOX_FORMAT, $FFMPEG_FORMAT. A stream offers only the formats that
have the name which its command uses.
  viola device sound --socket /run/card0 \\
    --sink 'exec:aplay -t raw -f $FORMAT -r $RATE -c $CHANNELS'
When the device is to end while commands still work, another signal ends them at once.`;

/** Adds the subcommand. */
export function addDevice(program: Command): void {
  program.command("device")
    .description("Be a vhost-user device, for one front-end after another.")
    .argument("<class>", "sound or rng")
    .option("--socket <path>", "Unix socket to listen at (required)")
    .option(
      "--sink <sink>",
      "a playback stream's end: wav:FILE, wav:FILE,append,\nnull, exec:COMMAND; again for the next stream",
      collect,
    )
    .option(
      "--source <source>",
      "a capture stream's beginning: wav:FILE, silence,\nexec:COMMAND; again for the next stream",
      collect,
    )
    .option(
      "--pace <pace>",
      "real: by a sound card's clock (the default);\nfree: as fast as it goes",
    )
    .option(
      "--latency <ms>",
      "what lies between the sinks and the ear: added to the\nlatency that is told to the driver (0)",
    )
    .option(
      "--grace <seconds>",
      "how long a command may work on after its stream's\nend; then it is killed (30)",
    )
    .option("--json", "report as JSON lines")
    .option("--until-eof", "end when standard input does")
    .addHelpText("after", EXAMPLES)
    .action((name: string, options: DeviceOptions) =>
      runDevice(planDevice(name, options), options)
    );
}

/** A device, as a command line asks for it. */
export interface DevicePlan {
  deviceClass: DeviceClass;
  spec: { socket: string };
}

/**
 * Makes a plan of a command line.
 *
 * @throws {Failure} with status 1 when it makes no sense
 */
export function planDevice(name: string, options: DeviceOptions): DevicePlan {
  const { socket, sink, source, pace, latency, grace } = options;
  const deviceClass = deviceClassByName(choice("DEVICE", name, ["sound", "rng"]))!;
  if (socket === undefined) throw new Failure(USAGE, "Cannot be a device: --socket is missing");
  if (name === "rng") {
    refuseForRng({ sink, source, pace, latency, grace });
    return { deviceClass, spec: { socket } };
  }
  const spec: SoundSpec & { socket: string } = {
    socket,
    pace: choice("--pace", pace ?? "real", ["real", "free"]),
    ...(sink === undefined ? {} : { sinks: sink }),
    ...(source === undefined ? {} : { sources: source }),
    ...(latency === undefined ? {} : { latencyMs: whole("--latency", latency, 0, 10_000) }),
    ...(grace === undefined ? {} : { graceMs: 1000 * whole("--grace", grace, 0, 86_400) }),
  };
  return { deviceClass, spec };
}

function refuseForRng(options: Record<string, unknown>): void {
  const given = Object.keys(options).find((name) => options[name] !== undefined);
  if (given === undefined) return;
  throw new Failure(USAGE, `Cannot use --${given} with rng: it is for sound`);
}

/**
 * Is a device until it is time to end.
 *
 * @throws {Failure} with status 1 for what the device cannot be, 2 when it cannot listen, 3 when it fails later
 */
async function runDevice({ deviceClass, spec }: DevicePlan, options: DeviceOptions): Promise<void> {
  const report = new Report(options.json === true);
  using stop = await StopSignal.listen();
  if (options.untilEof) void stop.untilEof();
  const { SpecError, startDevice } = await load(() => import("../lib/device/mod.ts"));
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {}); // it may fail while it is being closed
  const refuse = (error: Error): Promise<never> => {
    if (!(error instanceof SpecError)) throw error;
    return check("be such a device", () => Promise.reject(error));
  };
  const onEvent = (event: DeviceEvent) => reportEvent(report, event);
  const device = await step(
    UNREACHABLE,
    `listen at ${spec.socket}`,
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
