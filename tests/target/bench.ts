// SPDX-License-Identifier: Apache-2.0
/**
 * What `deno task target --bench` measures, put together: measurements in the machine write a line per figure and round,
 * the table shows each figure's median.
 *
 * @module
 */
import type { Figure, Group } from "../bench/figures.ts";
import { median } from "../support/statistics.ts";

/** A line of the table, and which lines of the machine's it is made of. */
interface Row extends Omit<Figure, "value" | "p99"> {
  /** The figure's name there. Its 99th percentile, if there is one, is NAME-p99. */
  from: string;
  /** It is the ratio to this one, in each round. */
  over?: string;
  /** Says between which values it lay. */
  ranges?: boolean;
}

/**
 * What the C program needed on AGL's own driver, and viola 0.1.0 in every other boot of the same machine that day, with the
 * same back-ends: compare each with the other, not with today's figure.
 */
const beside = (c: string, viola: string): string => `C program ${c}, viola beside it ${viola}`;

const TABLE: Record<string, Row[]> = {
  "start of viola": [
    { name: "viola --version, start to end", from: "version", unit: "ms" },
    {
      name: "start → one card in ALSA",
      from: "cards1",
      unit: "ms",
      reference: beside("3378 ms, 2000 of it asleep", "5504 ms"),
    },
    { name: "start → first sample at the device", from: "first1", unit: "ms" },
    {
      name: "start → two cards in ALSA",
      from: "cards2",
      unit: "ms",
      reference: beside("3799 ms", "6190 ms"),
    },
    { name: "start → first samples at both devices", from: "first2", unit: "ms" },
  ],
  "a restart in mid-play, the next period of 62.5 ms included": [
    {
      name: "viola device killed → a period back",
      from: "restart-sound",
      unit: "ms",
      ranges: true,
    },
    {
      name: "viola attach killed → a period back",
      from: "restart-viola",
      unit: "ms",
      ranges: true,
    },
  ],
  "register access, one processor": [
    { name: "eventfd ping-pong, C and C", from: "floor-one", unit: "µs" },
    { name: "viola answers the driver", from: "access-one", unit: "µs" },
    { name: "viola ÷ ping-pong", from: "access-one", over: "floor-one", unit: "×" },
  ],
  "register access, two processors": [
    { name: "eventfd ping-pong, C and C", from: "floor-two", unit: "µs" },
    {
      name: "viola answers the driver",
      from: "access-two",
      unit: "µs",
      reference: beside("347 µs, p99 1.1 ms", "405 µs, p99 2.7 ms"),
    },
    { name: "viola ÷ ping-pong", from: "access-two", over: "floor-two", unit: "×" },
    {
      name: "two cards playing, periods of 10 ms",
      from: "two-access",
      unit: "µs",
      reference: beside("386 µs", "443 µs"),
    },
  ],
  "/dev/hwrng": [
    { name: "viola's rng, blocks of 64 bytes", from: "embedded-64", unit: "kB/s" },
    { name: "viola's rng, blocks of 4096 bytes", from: "embedded-4096", unit: "kB/s" },
    { name: "the same with direct memory, 64 bytes", from: "direct-64", unit: "kB/s" },
    { name: "the same with direct memory, 4096 bytes", from: "direct-4096", unit: "kB/s" },
    {
      name: "vhost-device-rng, blocks of 64 bytes",
      from: "daemon-64",
      unit: "kB/s",
      reference: beside("38 kB/s", "30 kB/s"),
    },
    { name: "vhost-device-rng, blocks of 4096 bytes", from: "daemon-4096", unit: "kB/s" },
  ],
  "10 s of 48 kHz stereo": [
    {
      name: "one card, aplay's own periods: CPU time",
      from: "one-cpu",
      unit: "s",
      reference: beside("0.35 s", "1.48 s"),
    },
    { name: "  of its device", from: "one-devices-cpu", unit: "s" },
    { name: "  underruns that aplay saw", from: "one-underruns", unit: "" },
    { name: "  xruns that the device saw", from: "one-xruns", unit: "" },
    {
      name: "two cards, periods of 10 ms: CPU time",
      from: "two-cpu",
      unit: "s",
      reference: beside("2.4 s", "4.09 s"),
    },
    { name: "  of their devices", from: "two-devices-cpu", unit: "s" },
    {
      name: "  underruns that aplay saw",
      from: "two-underruns",
      unit: "",
      reference: beside("9 of 20 playbacks", "16 of 20"),
    },
    { name: "  xruns that the devices saw", from: "two-xruns", unit: "" },
    {
      name: "resident memory with two cards",
      from: "memory",
      unit: "MB",
      reference: beside("1.56 MB a process", "84 MB"),
    },
  ],
};

/** Reads what the machine wrote in all boots of a run. Lines of the table that nothing was measured for are left out. */
export async function readGroups(folder: string): Promise<Group[]> {
  const rounds = await readRounds(folder);
  const groups = Object.entries(TABLE).map(([title, rows]) => ({
    title,
    figures: rows.flatMap((row) => figureOf(row, rounds)),
  }));
  return groups.filter(({ figures }) => figures.length > 0);
}

/** Each figure's rounds. */
type Rounds = Map<string, number[]>;

async function readRounds(folder: string): Promise<Rounds> {
  const rounds: Rounds = new Map();
  for await (const boot of Deno.readDir(folder)) {
    for await (const { name } of Deno.readDir(`${folder}/${boot.name}`)) {
      if (!name.endsWith(".figures")) continue;
      for (const line of (await Deno.readTextFile(`${folder}/${boot.name}/${name}`)).split("\n")) {
        const [figure, value] = line.split(" ");
        if (value !== undefined) rounds.set(figure!, [...rounds.get(figure!) ?? [], Number(value)]);
      }
    }
  }
  return rounds;
}

/** One line of the table, or none. */
function figureOf({ from, over, ranges, ...row }: Row, rounds: Rounds): Figure[] {
  const values = rounds.get(from);
  if (values === undefined) return [];
  if (over !== undefined) {
    const ratios = values.map((value, i) => value / rounds.get(over)![i]!);
    return [{ ...row, value: median(ratios) }];
  }
  if (ranges) {
    const [least, most] = [Math.min(...values), Math.max(...values)].map(Math.round);
    return [{ ...row, value: median(values), reference: `${least}–${most} ${row.unit}` }];
  }
  const p99 = rounds.get(`${from}-p99`);
  // What should not happen at all is told as often as it did in the worst round.
  const value = row.unit === "" ? Math.max(...values) : median(values);
  return [{ ...row, value, ...(p99 === undefined ? {} : { p99: median(p99) }) }];
}
