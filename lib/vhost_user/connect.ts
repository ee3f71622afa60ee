// SPDX-License-Identifier: Apache-2.0
/**
 * Connecting to a back-end that is not there yet.
 *
 * @module
 */
import type { OsError } from "../../ffi/mod.ts";
import { FrontEnd, type FrontEndOptions } from "./front_end.ts";

/** Options of {@linkcode connectWithBackoff}. */
export interface BackoffOptions extends FrontEndOptions {
  signal?: AbortSignal | undefined;
  /** Called after 1, 10 and 60 seconds in vain, with the reason of the last attempt. */
  onWaiting?: ((seconds: number, reason: Error) => void) | undefined;
}

/** What connecting fails with while a daemon is about to start, starts again, or is busy with another front-end. */
const TRANSIENT = new Set(["ENOENT", "ECONNREFUSED", "EAGAIN", "EINTR"]);
/** An attempt costs some microseconds, so trying often is cheaper than watching folders that may not exist yet. */
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 100;
const REPORT_SECONDS = [1, 10, 60] as const;

/**
 * Connects to the back-end at `path`, however long it takes for it to listen there.
 *
 * @throws {OsError} what no waiting will cure: EACCES, ENAMETOOLONG, a path that is no socket …
 * @throws what `signal` was aborted with
 */
export async function connectWithBackoff(path: string, options: BackoffOptions): Promise<FrontEnd> {
  const { signal, onWaiting } = options;
  const start = performance.now();
  let reported = 0;
  for (let wait = FIRST_WAIT_MS;; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    signal?.throwIfAborted();
    try {
      return await FrontEnd.connect(path, options);
    } catch (error) {
      if (!TRANSIENT.has((error as OsError).code)) throw error;
      const due = REPORT_SECONDS[reported];
      if (due !== undefined && performance.now() - start >= due * 1000) {
        reported++;
        onWaiting?.(due, error as Error);
      }
    }
    await sleep(wait, signal);
  }
}

/** Waits, or until aborted. */
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
