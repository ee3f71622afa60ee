// SPDX-License-Identifier: Apache-2.0
/**
 * The sound device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { SoundSpec } from "./spec.ts";

const HELP = `
A card without --sink and --source has one stream of each: null, which drops what is
played, and silence.

exec: writes raw samples to COMMAND's standard input, or captures its standard output.
COMMAND's environment has $RATE, $CHANNELS, $BITS and the names of the format: $FORMAT for
aplay, $PW_FORMAT for pw-cat, $SOX_FORMAT, $FFMPEG_FORMAT. A stream offers only formats
for which every name that COMMAND uses exists.
  viola device sound --socket /run/card0 \\
    --sink 'exec:aplay -t raw -f $FORMAT -r $RATE -c $CHANNELS'
At its end the device waits for commands that are still running; a second signal kills
them.`;

/** Options as the command line gives them, each of its own type. */
interface SoundOptions extends CliValues {
  readonly sink?: string[];
  readonly source?: string[];
  readonly pace?: "real" | "free";
  readonly latency?: number;
  readonly grace?: number;
}

/** The sound device's command line. */
export const cli: CliRole<SoundSpec> = {
  options: [
    {
      flags: "--sink <sink>",
      description: "where a playback stream goes: wav:FILE, wav:FILE,append,\n" +
        "null, exec:COMMAND, pipewire:[NODE][,role=ROLE];\nagain for the next stream",
      repeatable: true,
    },
    {
      flags: "--source <source>",
      description: "where a capture stream comes from: wav:FILE, silence,\n" +
        "exec:COMMAND, pipewire:[NODE]; again for the next",
      repeatable: true,
    },
    {
      flags: "--pace <pace>",
      description: "real: by a sound card's clock (the default);\nfree: as fast as it goes",
      choices: ["real", "free"],
    },
    {
      flags: "--latency <ms>",
      description: "delay between the sinks and the ear: added to the\n" +
        "latency reported to the driver (0)",
      range: [0, 10_000],
    },
    {
      flags: "--grace <seconds>",
      description: "how long a command may run on after its stream's\n" +
        "end; then it is killed (30)",
      range: [0, 86_400],
    },
  ],
  help: HELP,
  parse: (values) => {
    const { sink, source, pace, latency, grace } = values as SoundOptions;
    return {
      ...(sink === undefined ? {} : { sinks: sink }),
      ...(source === undefined ? {} : { sources: source }),
      ...(pace === undefined ? {} : { pace }),
      ...(latency === undefined ? {} : { latencyMs: latency }),
      ...(grace === undefined ? {} : { graceMs: 1000 * grace }),
    };
  },
};
