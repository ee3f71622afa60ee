// SPDX-License-Identifier: Apache-2.0
/**
 * Events of a file, then those that come as JSON lines by standard input, as they come.
 *
 * @module
 */
import {
  EPOLLET,
  EPOLLIN,
  type Fd,
  OsError,
  readFd,
  reopenStream,
  type Watch,
  WOULD_BLOCK,
} from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";
import type { Capabilities } from "./capabilities.ts";
import { type EventsFile, type Line, parseEvent } from "./events_file.ts";
import { type EventSource, FileSource } from "./source.ts";

/** The longest line, in bytes. */
const LINE_BYTES = 4096;
/** Wrong lines that are told of in one turn. */
const MOST_WRONG = 16;
const NEWLINE = 10;
const EPERM = 1;

/** What it needs of its device. */
export type StdinHost = Pick<DeviceHost, "watch" | "now" | "report">;

/** See the module. Lines wait in standard input while there is no driver, or it has no buffers. */
export class StdinSource implements EventSource {
  /** Wrong lines are read on in the next turn. */
  retryAt = Infinity;
  readonly #file: FileSource;
  #input: { readonly fd: Fd; readonly watch: Watch | null } | null = null;
  /** What was read and not taken. */
  readonly #bytes = new Uint8Array(LINE_BYTES);
  #length = 0;
  /** The number of the last line. */
  #number = 0;
  /** The beginning of this line was thrown away. */
  #isTooLong = false;
  #isEnded = false;

  /** @param open Opens standard input; it does not block then */
  constructor(
    file: EventsFile,
    readonly host: StdinHost,
    readonly open: () => Fd = () => reopenStream(0),
  ) {
    this.#file = new FileSource(file);
  }

  get capabilities(): Capabilities {
    return this.#file.capabilities;
  }

  begin(): void {
    this.end();
    this.#file.begin();
    if (this.#isEnded) return;
    try {
      const fd = this.open();
      this.#input = { fd, watch: this.#watch(fd) };
    } catch (error) {
      this.host.report({ kind: "error", text: (error as Error).message });
    }
  }

  /** @returns null for a file, which cannot be watched and is always ready */
  #watch(fd: Fd): Watch | null {
    try {
      return this.host.watch(fd.number, EPOLLIN | EPOLLET, () => {});
    } catch (error) {
      if (OsError.is(error) && error.errno === EPERM) return null;
      fd.close();
      throw error;
    }
  }

  next(): Line | null {
    this.retryAt = Infinity;
    const ofFile = this.#file.next();
    if (ofFile !== null) return ofFile;
    for (let wrong = 0; wrong < MOST_WRONG;) {
      const text = this.#nextText();
      if (text === null) return null;
      if (text.trim() === "") continue;
      try {
        return parseEvent(text, this.capabilities, `line ${this.#number} of standard input`);
      } catch (error) {
        this.host.report({ kind: "error", text: (error as Error).message });
        wrong++;
      }
    }
    this.retryAt = this.host.now();
    return null;
  }

  /** The text of the next line; null when it is not there yet, or never will be. */
  #nextText(): string | null {
    for (;;) {
      const end = this.#bytes.subarray(0, this.#length).indexOf(NEWLINE);
      if (end >= 0) return this.#take(end, end + 1);
      if (this.#length === LINE_BYTES) {
        this.#isTooLong = true;
        this.#length = 0;
      }
      if (!this.#read()) break;
    }
    return this.#isEnded && this.#length > 0 ? this.#take(this.#length, this.#length) : null;
  }

  /** Takes so many bytes, of which a line has the first ones. A line that is too long is no JSON, and refused as such. */
  #take(end: number, taken: number): string {
    const text = new TextDecoder().decode(this.#bytes.subarray(0, end));
    this.#bytes.copyWithin(0, taken, this.#length);
    this.#length -= taken;
    this.#number++;
    const isTooLong = this.#isTooLong;
    this.#isTooLong = false;
    return isTooLong ? `… ${text}` : text;
  }

  /** @returns whether there was more */
  #read(): boolean {
    if (this.#input === null || this.#isEnded) return false;
    const room = LINE_BYTES - this.#length;
    const count = readFd(this.#input.fd.number, this.#bytes, this.#length, room);
    if (count > 0) this.#length += count;
    else if (count !== WOULD_BLOCK) this.#isEnded = true;
    return count > 0;
  }

  end(): void {
    this.#input?.watch?.close();
    this.#input?.fd.close();
    this.#input = null;
    this.retryAt = Infinity;
  }
}
