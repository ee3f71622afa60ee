// SPDX-License-Identifier: Apache-2.0
/**
 * The frames of a candump log, one after the other, at the log's own times or as fast as they are taken.
 *
 * @module
 */
import type { BusEvents } from "./bus.ts";
import { SpecError } from "../../device/role.ts";
import { type LoggedFrame, parseLine } from "./candump.ts";
import type { CanFrame } from "./wire.ts";

const PIECE_BYTES = 65536;
/** The longest line: an FD frame's has 190 characters or so. */
const LONGEST_LINE = 1024;
/** So many lines without a frame in between end a log: it is something else, and reading it takes time. */
const MOST_BAD = 1000;

/** @throws {SpecError} when a log cannot be read, or is no file: reading anything else may block */
export function checkLogIn(path: string): void {
  try {
    if (Deno.statSync(path).isFile) return Deno.openSync(path).close();
  } catch (cause) {
    throw new SpecError(`Cannot read log ${path}: ${(cause as Error).message}`, { cause });
  }
  throw new SpecError(`Cannot read log ${path}: expected a file`);
}

/** Lines of a file, read as they are wanted. */
class Lines implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #decoder = new TextDecoder();
  readonly #piece = new Uint8Array(PIECE_BYTES);
  #text = "";
  #at = 0;
  #isOver = false;
  /** The number of the line that was read last, from 1 on. */
  number = 0;

  /** @throws {Error} when it cannot be opened */
  constructor(path: string) {
    this.#file = Deno.openSync(path);
  }

  /** @returns null at the end @throws {Error} when it cannot be read */
  next(): string | null {
    for (;;) {
      const end = this.#text.indexOf("\n", this.#at);
      if (end >= 0) return this.#cut(end, end + 1);
      if (this.#isOver || this.#text.length - this.#at > LONGEST_LINE) {
        return this.#at < this.#text.length
          ? this.#cut(this.#text.length, this.#text.length)
          : null;
      }
      this.#read();
    }
  }

  #cut(end: number, next: number): string {
    const line = this.#text.slice(this.#at, end);
    this.#at = next;
    this.number++;
    return line;
  }

  #read(): void {
    const length = this.#file.readSync(this.#piece);
    this.#isOver = length === null;
    const more = this.#decoder.decode(this.#piece.subarray(0, length ?? 0), { stream: true });
    this.#text = this.#text.slice(this.#at) + more;
    this.#at = 0;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Receives reports about a log. */
export type LogEvents = Pick<BusEvents, "report">;

/** A log that is played. */
export class LogSource implements Disposable {
  readonly #lines: Lines;
  #next: LoggedFrame | null;
  /** The time of the first frame, in the log's seconds and in nanoseconds of the device's clock. */
  readonly #began: { readonly seconds: number; readonly now: number };
  /** Lines that are no frames. */
  #bad = 0;
  #count = 0;

  /**
   * @param now Nanoseconds: the first frame is due then
   * @param isPaced Whether frames come at the log's times
   * @throws {Error} when it cannot be read
   */
  constructor(
    readonly path: string,
    readonly events: LogEvents,
    readonly isPaced: boolean,
    now: number,
  ) {
    this.#lines = new Lines(path);
    this.#next = this.#read();
    this.#began = { seconds: this.#next?.seconds ?? 0, now };
  }

  /** When the next frame is due, in nanoseconds; Infinity at the end. */
  get due(): number {
    if (this.#next === null) return Infinity;
    if (!this.isPaced) return 0;
    const { seconds, now } = this.#began;
    const microseconds = Math.round((this.#next.seconds - seconds) * 1e6); // logs have no more digits
    return now + 1000 * Math.max(0, microseconds);
  }

  /** Takes the frame that is due. */
  take(now: number): CanFrame | null {
    if (this.due > now) return null;
    const { frame } = this.#next!;
    this.#count++;
    this.#next = this.#read();
    return frame;
  }

  /** The next frame; null at the end, and where the log cannot be read further. */
  #read(): LoggedFrame | null {
    try {
      for (let bad = 0; bad < MOST_BAD;) {
        const line = this.#lines.next();
        if (line === null) return this.#end("ended");
        const parsed = parseLine(line.trim());
        if (parsed !== null && parsed !== "error frame") return parsed;
        bad++;
        if (parsed === null && line.trim() !== "") this.#countBad();
      }
      return this.#end(`ended early, no frame in ${MOST_BAD} lines`);
    } catch (error) {
      return this.#end(`ended early, ${(error as Error).message}`);
    }
  }

  #countBad(): void {
    this.#bad++;
    if (this.#bad > 1) return;
    const text = `Line ${this.#lines.number} of log ${this.path} is not a frame: skipped`;
    this.events.report({ kind: "notice", text });
  }

  #end(why: string): null {
    const bad = this.#bad === 0 ? "" : `, ${this.#bad} lines skipped`;
    const text = `Log ${this.path} ${why}: ${this.#count} frames${bad}`;
    this.events.report({ kind: "notice", text });
    return null;
  }

  [Symbol.dispose](): void {
    this.#lines[Symbol.dispose]();
  }
}
