// SPDX-License-Identifier: Apache-2.0
/**
 * How a command ends: one message on standard error and an exit status, never a stack trace.
 *
 * @module
 */

import { OsError } from "../ffi/errno.ts";

/** Exit status: wrong usage (options, a file of the wrong kind). */
export const USAGE = 1;
/** Exit status: something cannot be reached (a socket, a node, a file, a folder). */
export const UNREACHABLE = 2;
/** Exit status: it failed while running. */
export const FAILED = 3;

/** An error with an exit status and a message for the user. Any other error counts as {@linkcode FAILED}. */
export class Failure extends Error {
  override readonly name = "Failure";

  /**
   * @param status Exit status, 1 to 3
   * @param message One line, as in "Cannot <action>: <current>, expected <…>"
   * @param usage Lines of viola's own to print below it
   */
  constructor(readonly status: number, message: string, readonly usage: readonly string[] = []) {
    super(message);
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is Failure {
    return error instanceof Error && error.name === "Failure";
  }
}

/** The exit status of an error. */
export function statusOf(error: unknown): number {
  return Failure.is(error) ? error.status : FAILED;
}

/** The lines to print below an error's message. */
export function usageOf(error: unknown): readonly string[] {
  return Failure.is(error) ? error.usage : [];
}

/** Deno's message for a file that it does not let an executable open, whatever the user's permissions are. */
const NO_ACCESS = /Requires \w+ access to ("[^"]*"), (run again|specify the required)[^\n]*/;

/** The message of an error for the user, without the stack trace. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split(/\n\s+at /, 1)[0]!.trimEnd()
    .replace(
      NO_ACCESS,
      "viola may not open $1 (as an executable it opens no file below /dev, /proc and /sys by name)",
    );
}

/**
 * Runs a step whose failure means exit status `status`, whatever it throws.
 *
 * @param doing What is attempted, such as "open card.wav": put before a message that does not say so itself
 * @throws {Failure}
 */
export async function step<T>(
  status: number,
  doing: string,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (Failure.is(error)) throw error;
    const message = messageOf(error);
    if (/^Cannot /.test(message)) throw new Failure(status, message);
    // Deno's own: "No such file or directory (os error 2): mkdir '/proc/x'"
    const errno = / \(os error (\d+)\)/.exec(message)?.[1];
    const text = errno === undefined
      ? `Cannot ${doing}: ${message}`
      : new OsError(doing, Number(errno)).message;
    throw new Failure(status, text);
  }
}

/**
 * Runs a check of something that the user named: an error of a system call (it is absent, busy, not ours) means
 * {@linkcode UNREACHABLE}, any other {@linkcode USAGE}.
 *
 * @throws {Failure}
 */
export async function check<T>(doing: string, look: () => T | Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    const { cause = error } = error as Error;
    const refused = typeof (cause as { code?: unknown }).code === "string"; // ENOENT and the like
    return await step(refused ? UNREACHABLE : USAGE, doing, () => Promise.reject(error));
  }
}

/**
 * Loads the part of viola that needs the shim, which may have to be built first.
 *
 * @throws {Failure} with status 2 and one line when that fails, however long the compiler's output is
 */
export function load<T>(code: () => Promise<T>): Promise<T> {
  const inOneLine = (error: unknown) => {
    throw new Error(messageOf(error).split(/\s*\n\s*/).slice(0, 3).join("; "));
  };
  return step(UNREACHABLE, "load viola", () => code().catch(inOneLine));
}

/** Whether SIGHUP is ignored, as under nohup. */
async function ignoresHangUp(): Promise<boolean> {
  const { readSystemFile } = await load(() => import("../ffi/mod.ts"));
  const ignored = /^SigIgn:.*([0-9a-f])$/m.exec(readSystemFile("/proc/self/status"))?.[1];
  return ignored !== undefined && (parseInt(ignored, 16) & 1) === 1;
}

const ignore = (): void => {};

/**
 * The request to end, from SIGINT, SIGTERM, SIGQUIT, or SIGHUP when the terminal is closed. While this object exists, none
 * of them ends the process by itself.
 */
export class StopSignal implements Disposable {
  #controller = new AbortController();
  #again = new AbortController();
  #listeners: { name: Deno.Signal; listener: () => void }[];

  private constructor(staysOn: boolean, onHangUp: (() => void) | null) {
    this.#listeners = (["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const).map((name) => {
      const isIgnored = name === "SIGHUP" && staysOn;
      const listener = () => {
        if (name === "SIGHUP" && onHangUp !== null) onHangUp();
        else if (!isIgnored) this.#abort(name);
      };
      Deno.addSignalListener(name, listener);
      return { name, listener };
    });
    // Otherwise a file at its size limit would end the process without a message.
    Deno.addSignalListener("SIGXFSZ", ignore);
  }

  /**
   * Begins to listen.
   *
   * @param onHangUp What SIGHUP means where it is no request to end, as in daemons with a file of settings
   * @throws {Failure} with status 2 when viola cannot be loaded
   */
  static async listen(onHangUp: (() => void) | null = null): Promise<StopSignal> {
    // Read before there is a listener: with the first one Deno handles SIGHUP, ignored or not.
    return new StopSignal(await ignoresHangUp(), onHangUp);
  }

  /** Aborted by the first signal, with its name as the reason. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  #abort(name: string): void {
    (this.signal.aborted ? this.#again : this.#controller).abort(name);
  }

  /** Aborted by a second signal: the user does not want to wait. */
  get again(): AbortSignal {
    return this.#again.signal;
  }

  /** Treats the end of standard input as such a request too. Input before the end is ignored. */
  async untilEof(): Promise<void> {
    try {
      for await (const _ of Deno.stdin.readable);
    } catch { /* one that cannot be read has ended */ }
    this.#controller.abort("the end of standard input");
  }

  /** Waits until it is time to end. */
  stopped(): Promise<string> {
    const { signal } = this;
    if (signal.aborted) return Promise.resolve(signal.reason);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve(signal.reason), { once: true });
    });
  }

  [Symbol.dispose](): void {
    for (const { name, listener } of this.#listeners) Deno.removeSignalListener(name, listener);
    Deno.removeSignalListener("SIGXFSZ", ignore);
  }
}
