// SPDX-License-Identifier: Apache-2.0
/**
 * A candump log that is written.
 *
 * @module
 */
import { SpecError } from "../../device/role.ts";
import { formatLine } from "./candump.ts";
import type { LogEvents } from "./log_source.ts";
import type { CanFrame } from "./wire.ts";

/** The most characters that wait for {@linkcode LogSink.flush}; more are written at once. */
const MOST_WAITING = 65536;

/** Seconds since 1970. */
export function wallClock(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}

/**
 * Makes a log if it is not there.
 *
 * @param logIn A log that is read meanwhile
 * @throws {SpecError} when it cannot be written, is no file (writing anything else may block), or is the one that is read
 */
export function checkLogOut(path: string, logIn: string | undefined): void {
  const refuse = (why: string, cause?: unknown): never => {
    throw new SpecError(`Cannot write log ${path}: ${why}`, { cause });
  };
  const info = statOf(path);
  if (info !== null && !info.isFile) refuse("expected a file");
  try {
    Deno.openSync(path, { append: true, create: true }).close();
  } catch (cause) {
    refuse((cause as Error).message, cause);
  }
  const own = statOf(path);
  const other = logIn === undefined ? null : statOf(logIn);
  if (own !== null && other !== null && own.dev === other.dev && own.ino === other.ino) {
    refuse("it is the log that is read");
  }
}

function statOf(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null;
  }
}

/** A log, appended to. */
export class LogSink implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #encoder = new TextEncoder();
  #text = "";
  #hasFailed = false;

  /**
   * @param path A file; it is made if it is not there
   * @param bus The name of the bus in it
   * @param clock Seconds since 1970
   * @throws {Error} when it cannot be written
   */
  constructor(
    readonly path: string,
    readonly bus: string,
    readonly events: LogEvents,
    readonly clock: () => number = wallClock,
  ) {
    this.#file = Deno.openSync(path, { append: true, create: true });
  }

  /** Notes a frame. */
  add(frame: CanFrame): void {
    this.#text += `${formatLine({ seconds: this.clock(), frame }, this.bus)}\n`;
    if (this.#text.length > MOST_WAITING) this.flush();
  }

  /** Writes the noted frames. A log that cannot be written is reported once, and further frames are left out. */
  flush(): void {
    if (this.#text === "") return;
    const bytes = this.#encoder.encode(this.#text);
    this.#text = "";
    if (this.#hasFailed) return;
    try {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (error) {
      this.#hasFailed = true;
      const text = `Cannot write log ${this.path}: ${(error as Error).message}`;
      this.events.report({ kind: "error", text });
    }
  }

  [Symbol.dispose](): void {
    this.flush();
    this.#file.close();
  }
}
