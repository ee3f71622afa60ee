// SPDX-License-Identifier: Apache-2.0
/**
 * `deno task soak [--minutes N] [--seed S]`: one viola with honest cards in both memory modes, beside hostile and slow peers,
 * while all of them are killed, stopped and reset. The honest cards lose nothing, nothing grows, nothing hangs. The seed
 * repeats the schedule of events. The exit status is 1 when something is not so.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a command
import { parseArgs } from "node:util";
import { withoutLeaks } from "../support/leaks.ts";
import { seedOf } from "../support/random.ts";
import { holdingsText, type Outcome, Soak } from "./soak.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "2" }, seed: { type: "string" } },
});
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`Cannot soak for ${values.minutes} minutes: expected a number above 0`);
  Deno.exit(1);
}
const seed = seedOf("--seed", values.seed);
console.log(`soak: --seed ${seed}, ${minutes} min`);
const soak = new Soak(seed, (line) => console.log(line));
try {
  console.log(outcomeText(await withoutLeaks(() => soak.run(60_000 * minutes))));
} catch (error) {
  console.error(`soak fails, --seed ${seed}: ${(error as Error).message}`);
  Deno.exit(1);
}

function outcomeText(o: Outcome): string {
  return [
    `${o.kills} kills, ${o.restores} devices restored, ${o.stops} stops, ${o.resets} resets of the driver`,
    `${o.playbacks} whole playbacks, ${o.ended} that the driver ended, ${o.frames} frames, none lost, ` +
    `${o.repeated} heard twice`,
    `beside: ${o.acts} acts of hostile and slow back-ends, ${o.halves} half messages, ${o.lies} lies of a driver, ` +
    `${o.entropy} bytes of entropy`,
    `viola holds ${holdingsText(o.holdings)} at the last of ${o.checkpoints} checkpoints`,
    `${o.slowness.toFixed(1)} times slower than on a quiet machine`,
  ].join("\n");
}
