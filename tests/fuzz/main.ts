// SPDX-License-Identifier: Apache-2.0
/**
 * Random inputs for all that reads what others wrote: `deno task fuzz [--seconds N] [--seed S] [--target NAME]`. A failure
 * is printed with the smallest input that shows it, and what repeats it; the exit status is 1 then.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a command
import { parseArgs } from "node:util";
import { seedOf } from "../support/random.ts";
import { fuzz, FuzzFailure, tallyText } from "./run.ts";
import { TARGETS } from "./targets/mod.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string" },
    target: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const targets = TARGETS.filter(({ name }) => (values.target ?? name) === name);
if (!(seconds > 0) || targets.length === 0) {
  const names = TARGETS.map(({ name }) => `"${name}"`).join(", ");
  console.error(
    `Cannot fuzz "${values.target}" for ${values.seconds} s: expected a number of seconds, and a target of ${names}`,
  );
  Deno.exit(1);
}
const seed = seedOf("--seed", values.seed);
console.log(`fuzz: --seed ${seed}, ${seconds} s`);
try {
  console.log(tallyText(await fuzz(targets, seed, 1000 * seconds)));
} catch (error) {
  console.error(error instanceof FuzzFailure ? error.message : error);
  Deno.exit(1);
}
