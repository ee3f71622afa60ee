// SPDX-License-Identifier: Apache-2.0
/**
 * How a process starts others, seen by strace.
 *
 * @module
 */
import { Process, type ProcessOptions } from "./process.ts";

/**
 * Starts a program whose calls that make processes and mappings are written to `file`, and those of all that it starts. The
 * program is the process itself: strace lies beside it (-D), and ends when all of them have.
 */
export function traced(
  file: string,
  program: string,
  args: string[],
  options?: ProcessOptions,
): Process {
  const calls = "trace=clone,clone3,fork,vfork,mmap,execve";
  const strace = ["-D", "-f", "--seccomp-bpf", "-e", calls, "-e", "signal=none", "-y"];
  return Process.start("strace", [...strace, "-o", file, program, ...args], options);
}

/** A call that made a thread or a process. */
export interface Clone {
  /** As strace has it. */
  readonly text: string;
  readonly isThread: boolean;
  /** It runs in its maker's memory, as a thread or a vforked child does; else all mappings are copied. */
  readonly sharesMemory: boolean;
}

/**
 * The calls by which a process made threads and processes after its first mapping of a file.
 *
 * @param trace What {@linkcode traced} wrote
 * @param mapped What strace calls the file, such as "/memfd:viola-memory"
 * @throws {Error} when it was not mapped
 */
export function clonesAfterMapping(trace: string, mapped: string): Clone[] {
  const clones: Clone[] = [];
  /** The process's threads. */
  const [, main] = /^(\d+) +execve\(/.exec(trace) ?? [];
  const threads = new Set([main]);
  let isMapped = false;
  for (const { id, text } of callsIn(trace)) {
    if (!threads.has(id)) continue;
    if (text.startsWith("mmap(")) isMapped ||= text.includes(`<${mapped}`);
    else if (!text.startsWith("execve(")) {
      const isThread = text.includes("CLONE_THREAD");
      if (isThread) threads.add(/ = (\d+)$/.exec(text)?.[1]);
      const sharesMemory = text.includes("CLONE_VM") || text.startsWith("vfork(");
      if (isMapped) clones.push({ text, isThread, sharesMemory });
    }
  }
  if (!isMapped) throw new Error(`Cannot find a mapping of ${mapped}`);
  return clones;
}

/** Calls with the thread that made each; one that another thread's cut in two is put together. */
function* callsIn(trace: string): Generator<{ id: string; text: string }> {
  const begun = new Map<string, string>();
  for (const line of trace.split("\n")) {
    const [, id, said] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (id === undefined || said === undefined) continue;
    const cut = / <unfinished \.\.\.>$/.exec(said);
    if (cut !== null) begun.set(id, said.slice(0, cut.index));
    else {
      const rest = /^<\.\.\. \w+ resumed>/.exec(said);
      const text = rest === null ? said : (begun.get(id) ?? "") + said.slice(rest[0].length);
      if (/^\w+\(/.test(text)) yield { id, text };
    }
  }
}
