// SPDX-License-Identifier: Apache-2.0
/**
 * Connects to a back-end that may not be listening yet.
 *
 * @module
 */
import { closesPending, type OsError, osError } from "../../ffi/mod.ts";
import { FrontEnd } from "./front_end.ts";
import type { FrontEndOptions } from "./front_end_types.ts";

/** Options of {@linkcode connectWithBackoff}. */
export interface BackoffOptions extends FrontEndOptions {
  signal?: AbortSignal | undefined;
  /** Called after 1, 10 and 60 seconds without success, with the error of the last attempt. */
  onWaiting?: ((seconds: number, reason: Error) => void) | undefined;
  /**
   * Called when there is no socket at the path, and one that has a digit at its end as some daemons append; that one is
   * connected to. Absent: it is not looked for.
   */
  onNumbered?: ((path: string) => void) | undefined;
}

/** Errors of connecting while a daemon starts, restarts, or serves another front-end. */
const TRANSIENT = new Set(["ENOENT", "ECONNREFUSED", "EAGAIN", "EINTR"]);
/**
 * The waits between attempts are an eighth of the time since the first, so that they prolong an outage little, within these
 * bounds. An attempt takes microseconds, which is cheaper than watching folders that may not exist yet.
 */
const WAIT_SHARE = 1 / 8;
const SHORTEST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 100;
const REPORT_SECONDS = [1, 10, 60] as const;

/** How long to wait before the next attempt, in milliseconds. @param elapsed Since the first attempt, in milliseconds */
export function waitAfter(elapsed: number): number {
  return Math.min(Math.max(elapsed * WAIT_SHARE, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
}

/**
 * Connects to the back-end at `path`; waits without a deadline for it to listen there.
 *
 * @throws {OsError} when waiting would not help: EACCES, ENAMETOOLONG, a path that is not a socket …
 * @throws what `signal` was aborted with
 */
export async function connectWithBackoff(path: string, options: BackoffOptions): Promise<FrontEnd> {
  const { signal, onWaiting, onNumbered } = options;
  const start = performance.now();
  let reported = 0;
  while (true) {
    signal?.throwIfAborted();
    try {
      checkCloses(path);
      return await FrontEnd.connect(path, options);
    } catch (error) {
      if (!TRANSIENT.has((error as OsError).code)) throw error;
      const [numbered, ...others] = onNumbered === undefined ? [] : numberedSockets(path);
      if (numbered !== undefined && others.length === 0) {
        onNumbered!(numbered);
        return await connectWithBackoff(numbered, { ...options, onNumbered: undefined });
      }
      const due = REPORT_SECONDS[reported];
      if (due !== undefined && performance.now() - start >= due * 1000) {
        reported++;
        onWaiting?.(due, error as Error);
      }
    }
    await sleep(waitAfter(performance.now() - start), signal);
  }
}

/** So that a back-end which sends descriptors that are slow to close cannot use up all there are. @throws {OsError} EAGAIN */
function checkCloses(path: string): void {
  const count = closesPending(path);
  if (count === 0) return;
  throw osError(
    `connect to ${path} (${count} descriptors that it sent are still being closed)`,
    "EAGAIN",
  );
}

/** The sockets that are at a path with a digit appended, where nothing is at the path itself. */
function numberedSockets(path: string): string[] {
  if (isThere(path)) return [];
  const paths = Array.from({ length: 10 }, (_, digit) => `${path}${digit}`);
  return paths.filter((one) => isThere(one, ({ isSocket }) => isSocket === true));
}

function isThere(path: string, fits: (info: Deno.FileInfo) => boolean = () => true): boolean {
  try {
    return fits(Deno.lstatSync(path));
  } catch {
    return false;
  }
}

/** Waits until the time is over or the signal is aborted. */
function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", done);
    resolve();
  };
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", done);
  if (signal?.aborted === true) done();
  return promise;
}
