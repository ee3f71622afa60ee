// SPDX-License-Identifier: Apache-2.0
/**
 * Lines for whoever reads them, or does not: they are queued and written in the background, so that a reader that stalls
 * or goes, or a disk that is full, neither holds up nor ends what is reported on.
 *
 * @module
 */

/** Texts that wait to be written; there is no room for more. */
const QUEUE = 1000;
/** How long the last lines may take at the end, in milliseconds. */
const LAST_MS = 1000;
/** When to look again whether a pipe that does not block has room, in milliseconds. */
const RETRY_MS = 20;

const encoder = new TextEncoder();

/** Where lines go: standard output or standard error, or what a test puts in their place. */
export interface Output {
  write(bytes: Uint8Array): Promise<number>;
  isTerminal(): boolean;
}

/** A text to be written, and how many lines were lost just before it. */
interface Entry {
  text: string;
  lost: number;
  isOwed: boolean;
}

/** Writes lines in order, as they can be written; those that cannot are dropped, and counted. */
export class Lines {
  readonly #queue: Entry[] = [];
  #writing: Promise<void> | null = null;
  /** Lines dropped since the last that was queued. */
  #lost = 0;
  /** Whether the last write ended in the middle of a line. */
  #torn = false;
  #isOwed = false;
  #failure: unknown = null;
  /** Says that so many lines were dropped. */
  tell = (lost: number): string => `... ${lost} line${lost === 1 ? "" : "s"} dropped\n`;

  constructor(readonly output: Output) {}

  /** Has whole lines written when that can be. */
  put(text: string): void {
    if (this.#queue.length < QUEUE) this.#add(text, false);
    else this.#lost += linesIn(text);
  }

  /** The same, for what a command was run for: it always finds room, and {@linkcode flush} waits for it. */
  owe(text: string): void {
    this.#isOwed = true;
    this.#add(text, true);
  }

  #add(text: string, isOwed: boolean): void {
    this.#queue.push({ text, lost: this.#lost, isOwed });
    this.#lost = 0;
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    for (let entry; (entry = this.#queue.shift()) !== undefined;) {
      try {
        await this.#write(entry);
      } catch (error) {
        if (entry.isOwed) this.#failure ??= error;
        this.#giveUp(entry);
      }
    }
    this.#writing = null;
  }

  async #write({ text, lost }: Entry): Promise<void> {
    const notice = lost > 0 ? this.tell(lost) : "";
    const bytes = encoder.encode(`${this.#torn ? "\n" : ""}${notice}${text}`);
    for (let at = 0; at < bytes.length;) {
      const n = await this.#writeSome(bytes.subarray(at));
      at += n;
      if (n > 0) this.#torn = at < bytes.length;
    }
  }

  /** @throws {Error} when it cannot be written, now or later */
  async #writeSome(bytes: Uint8Array): Promise<number> {
    try {
      return await this.output.write(bytes);
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      return 0;
    }
  }

  /** What could not be written is told before what comes next. */
  #giveUp({ text, lost }: Entry): void {
    const count = lost + linesIn(text);
    const [next] = this.#queue;
    if (next === undefined) this.#lost += count;
    else next.lost += count;
  }

  /**
   * Waits until all is written: a second at most, but as long as it takes when something is owed.
   *
   * @throws {Error} why what is owed could not be written; that nobody reads any more is no reason
   */
  async flush(): Promise<void> {
    if (this.#lost > 0) this.#add("", false);
    if (this.#writing !== null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = this.#isOwed ? undefined : setTimeout(resolve, LAST_MS);
      await Promise.race([this.#writing, promise]);
      clearTimeout(timer);
    }
    const failure = this.#failure;
    if (failure !== null && !(failure instanceof Deno.errors.BrokenPipe)) throw failure;
  }
}

function linesIn(text: string): number {
  return text.split("\n").length - 1;
}
