// SPDX-License-Identifier: Apache-2.0
/**
 * Time as a quiet machine would count it: a second in which this process got a tenth of the processor that it wanted counts
 * a tenth. So what hangs can be told from what is slow because the machine is busy.
 *
 * @module
 */

/** Milliseconds between two ticks. */
const TICK_MS = 100;
/** What is computed in each tick, so that there is something to wait for a processor for: about a millisecond. */
const ROUNDS = 400_000;

/** Nanoseconds that this process's main thread ran, and that it waited for a processor (proc(5), schedstat). */
function schedule(): { ran: number; waited: number } {
  const [ran, waited] = Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/schedstat`).split(" ");
  return { ran: Number(ran), waited: Number(waited) };
}

/** Ticks over which it is judged how slow the machine is. */
const WINDOW = 10;

/** What stood at a tick: the time in milliseconds, and {@linkcode schedule}. */
type Mark = ReturnType<typeof schedule> & { now: number };

/** See the module. */
export class QuietClock implements Disposable {
  /** Milliseconds of a quiet machine since the beginning. */
  ms = 0;
  /** Called at each tick, with the quiet milliseconds since the last. */
  onTick: (ms: number) => void = () => {};
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #start = performance.now();
  readonly #marks: Mark[] = [{ now: this.#start, ...schedule() }];
  #sink = 0;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** How many times slower than a quiet machine it was so far. */
  get slowness(): number {
    return Math.max(1, (performance.now() - this.#start) / Math.max(this.ms, 1));
  }

  #tick(): void {
    for (let i = 0; i < ROUNDS; i++) this.#sink = (this.#sink * 31 + i) | 0;
    const mark: Mark = { now: performance.now(), ...schedule() };
    const last = this.#marks.at(-1)!;
    this.#marks.push(mark);
    const first = this.#marks[0]!;
    const waited = (mark.waited - first.waited) / Math.max(mark.ran - first.ran, 1);
    const wall = mark.now - last.now;
    const quiet = wall / Math.max(wall / TICK_MS, 1 + waited);
    if (this.#marks.length > WINDOW) this.#marks.shift();
    this.ms += quiet;
    this.onTick(quiet);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
