// SPDX-License-Identifier: Apache-2.0
/**
 * The figures that viola is built to: `deno task bench [--json] [--executable FILE]`; with `--peer` only the
 * ratios to an adapter in C. Medians of rounds in turn; nothing here fails for being slow. What is measured of processes is measured from source, restarts of an executable's too.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { measureDevices } from "./devices.ts";
import { measureDisks } from "./disk.ts";
import { type Group, reportText } from "./figures.ts";
import { measureAccesses, measureRequests } from "./latency.ts";
import { measurePeer } from "./peer.ts";
import { measureRestarts } from "./restart.ts";
import { measureStart } from "./start.ts";

const { values: { json = false, executable, peer = false } } = parseArgs({
  options: {
    json: { type: "boolean" },
    executable: { type: "string" },
    peer: { type: "boolean" },
  },
});
const measurements = peer ? [measurePeer] : [
  measureAccesses,
  measureRequests,
  measureDisks,
  measureStart,
  measureDevices,
  measureRestarts,
  measurePeer,
];
if (executable !== undefined) measurements.push(() => measureRestarts(executable));
const groups: Group[] = [];
for (const measure of measurements) groups.push(...await measure());
// deno-lint-ignore no-console -- this is what it is for
console.log(reportText(groups, json));
