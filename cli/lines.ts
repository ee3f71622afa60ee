// SPDX-License-Identifier: Apache-2.0
/**
 * Output lines: they are queued and written in the background, so that a reader that stalls or ends, or a full disk,
 * neither delays nor ends the program.
 *
 * @module
 */

/** The most texts in the queue. */
const QUEUE = 1000;
/** How long to wait for the last lines at the end, in milliseconds. */
const LAST_MS = 1000;
/** How long to wait before another write to a full non-blocking pipe, in milliseconds. */
const RETRY_MS = 20;

const encoder = new TextEncoder();

/** Where lines go: standard output, standard error, or a fake in a test. */
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

/** Writes lines in order, in the background; lines that cannot be written are dropped and counted. */
export class Lines {
  readonly #queue: Entry[] = [];
  #writing: Promise<void> | null = null;
  /** Lines dropped since the last that was queued. */
  #lost = 0;
  /** Whether the last write ended in the middle of a line. */
  #torn = false;
  #isOwed = false;
  #failure: unknown = null;
  /** The text that reports dropped lines. */
  tell = (lost: number): string => `... ${lost} line${lost === 1 ? "" : "s"} dropped\n`;

  constructor(readonly output: Output) {}

  /** Queues whole lines; they are dropped if the queue is full. */
  put(text: string): void {
    if (this.#queue.length < QUEUE) this.#add(text, false);
    else this.#lost += linesIn(text);
  }

  /** As {@linkcode put}, for the result of a command: it is never dropped, and {@linkcode flush} waits for it. */
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

  /** Drops a text; the next one reports that. */
  #giveUp({ text, lost }: Entry): void {
    const count = lost + linesIn(text);
    const [next] = this.#queue;
    if (next === undefined) this.#lost += count;
    else next.lost += count;
  }

  /**
   * Waits until everything is written: a second at most, but any time for texts of {@linkcode owe}.
   *
   * @throws {Error} when such a text could not be written; a closed pipe is no error
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
