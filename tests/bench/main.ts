// SPDX-License-Identifier: Apache-2.0
/**
 * The figures that viola is built to: `deno task bench`, or with `--json` for scripts. Medians of rounds in turn; nothing
 * here fails for being slow.
 *
 * @module
 */
import { type Group, reportText } from "./figures.ts";
import { measureAccesses, measureRequests } from "./latency.ts";
import { measureStart } from "./start.ts";

const groups: Group[] = [];
for (const measure of [measureAccesses, measureRequests, measureStart]) {
  groups.push(...await measure());
}
// deno-lint-ignore no-console -- this is what it is for
console.log(reportText(groups, Deno.args.includes("--json")));
