// SPDX-License-Identifier: Apache-2.0
/**
 * Something that shall run until it is stopped: when it ends, or cannot be started, it is started again after a pause, which
 * grows with each failure in a row.
 *
 * @module
 */

/** It runs. */
export interface Running {
  /** Resolves with the reason when it has ended by itself. */
  readonly ended: Promise<string>;
  /** Ends it; afterwards nothing of it is left. */
  stop(): Promise<void>;
}

/** What is supervised. */
export interface Supervision {
  /** Starts it. @throws {Error} */
  readonly start: () => Promise<Running>;
  /** Told why it ended or did not start, and after how many milliseconds it is started again. */
  readonly onEnd: (reason: string, pauseMs: number) => void;
  /** A monotonic clock, in milliseconds. @default `performance.now` */
  readonly now?: () => number;
}

/** The first pause, and the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** What has run so long has not failed at its start: the next pause is the first one again. */
const WELL_MS = 10_000;

/** See the module. */
export class Supervised {
  readonly #supervision: Supervision;
  readonly #stop = Promise.withResolvers<null>();
  readonly #done: Promise<void>;
  #tried = Promise.withResolvers<void>();

  constructor(supervision: Supervision) {
    this.#supervision = supervision;
    this.#done = this.#run();
  }

  /** Resolves when it has been started once, or could not be. */
  get tried(): Promise<void> {
    return this.#tried.promise;
  }

  async #run(): Promise<void> {
    const stopped = this.#stop.promise;
    const { now = () => performance.now() } = this.#supervision;
    for (let pauseMs = FIRST_PAUSE_MS;;) {
      const since = now();
      const reason = await this.#once(stopped);
      if (reason === null) return;
      if (now() - since >= WELL_MS) pauseMs = FIRST_PAUSE_MS;
      this.#supervision.onEnd(reason, pauseMs);
      if (await pause(pauseMs, stopped)) return;
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }

  /** Runs it once. @returns why it ended, null when it was stopped */
  async #once(stopped: Promise<null>): Promise<string | null> {
    try {
      const running = await this.#supervision.start();
      this.#tried.resolve();
      const reason = await Promise.race([running.ended, stopped]);
      await running.stop();
      return reason;
    } catch (error) {
      this.#tried.resolve();
      return (error as Error).message;
    }
  }

  /** Stops it, and waits for its end. Calling it again waits for the same end. */
  async stop(): Promise<void> {
    this.#stop.resolve(null);
    await this.#done;
  }
}

/** @returns whether it was stopped meanwhile */
async function pause(ms: number, stopped: Promise<null>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<true>();
  const timer = setTimeout(() => resolve(true), ms);
  const over = await Promise.race([promise, stopped]);
  clearTimeout(timer);
  return over === null;
}
