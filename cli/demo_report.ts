// SPDX-License-Identifier: Apache-2.0
/**
 * Writes a demo's report: a page, and its figures as JSON.
 *
 * @module
 */
import metadata from "../deno.json" with { type: "json" };
import { type DemoReport, reportOf, type ReportSource } from "../lib/scene/report/data.ts";
import { pageOf } from "../lib/scene/report/page.ts";
import { load } from "./exit.ts";

/** The files of a report in a folder. */
export function reportFiles(out: string): { readonly page: string; readonly figures: string } {
  return { page: `${out}/report.html`, figures: `${out}/report.json` };
}

/** Writes a report. @throws {Error} */
export async function writeReport(
  out: string,
  source: Omit<ReportSource, "about">,
): Promise<DemoReport> {
  const report = reportOf({ ...source, about: await aboutMachine() });
  const { page, figures } = reportFiles(out);
  await Deno.writeTextFile(page, pageOf(report));
  await Deno.writeTextFile(figures, `${JSON.stringify(report)}\n`);
  return report;
}

/** Versions, and what the machine is. */
async function aboutMachine(): Promise<Record<string, string>> {
  const { readSystemFile } = await load(() => import("../ffi/mod.ts"));
  const read = (path: string): string => {
    try {
      return readSystemFile(path);
    } catch {
      return "";
    }
  };
  return {
    viola: metadata.version,
    Deno: Deno.version.deno,
    ...machineOf({
      kernel: read("/proc/sys/kernel/osrelease"),
      cpus: read("/proc/cpuinfo"),
      memory: read("/proc/meminfo"),
    }, Deno.build.arch),
  };
}

/** What the kernel's files say of the machine; what they do not say is left out. */
export function machineOf(
  { kernel, cpus, memory }: Readonly<Record<"kernel" | "cpus" | "memory", string>>,
  architecture: string,
): Record<string, string> {
  const count = [...cpus.matchAll(/^processor\s*:/gm)].length;
  const model = /^model name\s*:\s*(.+)$/m.exec(cpus)?.[1];
  const kibibytes = /^MemTotal:\s*(\d+) kB$/m.exec(memory)?.[1];
  return {
    ...(kernel.trim() === "" ? {} : { kernel: `Linux ${kernel.trim()}` }),
    CPUs: [...(count === 0 ? [] : [`${count} ×`]), model ?? architecture].join(" "),
    ...(kibibytes === undefined ? {} : {
      memory: `${(Number(kibibytes) / 2 ** 20).toFixed(1)} GiB`,
    }),
  };
}
