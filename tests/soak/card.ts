// SPDX-License-Identifier: Apache-2.0
/**
 * An honest sound card: a device process that writes what it hears to a file, and a driver that plays numbered frames, one
 * playback after another. After each playback the file is judged: nothing may be missing, and nothing may be there twice but
 * what was in flight when something ended.
 *
 * @module
 */
import type { sound } from "../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../lib/guest/mod.ts";
import type { SoftNode } from "../../lib/loopback/mod.ts";
import { sound as soundClass } from "../../lib/classes/mod.ts";
import { coverageOf } from "../integration/chain/coverage.ts";
import { DeviceProcess } from "../integration/chain/device_process.ts";
import { numbersOf, RATE, readNumbered, writeNumbered } from "../integration/real/numbered.ts";
import type { TempFolder } from "../support/process.ts";

const PERIOD_FRAMES = 480;
const PERIODS = 8;
/** Frames of one playback: two seconds. */
const FRAMES = 2 * RATE;
/** Whoever waits for the driver's own deadlines waits for ever: what hangs is found by {@linkcode Card.tick}. */
const NEVER_MS = 10 * 60_000;
/** Longest time without progress, in milliseconds of a quiet machine. */
const HANG_MS = 5000;

/** How a driver ends a playback. */
export type Ending = "stop" | "kill" | "unbind" | "reset";

/** Measures how long a card makes no progress. */
class Watch {
  #holds = 0;
  #idleMs = 0;
  #beat = "";

  /** Progress is not expected until {@linkcode release}, again for each call. */
  hold(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    this.restart();
  }

  restart(): void {
    this.#idleMs = 0;
  }

  /** Lets time pass. @param beat Changes with each progress @returns milliseconds without progress */
  idleAfter(ms: number, beat: string): number {
    this.#idleMs = this.#holds > 0 || beat !== this.#beat ? 0 : this.#idleMs + ms;
    this.#beat = beat;
    return this.#idleMs;
  }
}

/** See the module. */
export class Card implements AsyncDisposable {
  /** Whole playbacks, those that the driver ended, and frames that were found in files. */
  readonly counts = { playbacks: 0, ended: 0, frames: 0, repeated: 0 };
  readonly #stack: AsyncDisposableStack;
  /**
   * The present playback: the number of its first frame (each has its own), whether the last application was killed (what
   * the device has of it is heard in this one), how often the device or viola ended.
   */
  readonly #playback = { first: 0, wasKilled: false, ends: 0 };
  /** How the driver ends the present playback, and until it has. */
  #ending: Ending | null = null;
  #interrupting: Promise<void> | null = null;
  readonly #watch = new Watch();
  #phase = "start";
  #over = false;

  private constructor(
    readonly name: string,
    readonly folder: TempFolder,
    readonly device: DeviceProcess,
    readonly guest: Guest<typeof sound>,
    stack: AsyncDisposableStack,
  ) {
    this.#stack = stack;
  }

  /** Starts the device process and the driver. @param node What the driver is at */
  static async start(name: string, folder: TempFolder, node: SoftNode): Promise<Card> {
    await using stack = new AsyncDisposableStack();
    const sink = `wav:${folder.file(`${name}.wav`)},append`;
    const device = stack.use(
      DeviceProcess.start(["sound", "--socket", folder.file(name), "--sink", sink, "--json"]),
    );
    const guest = stack.use(
      await startGuest(soundClass, node.wires, {
        name,
        controlTimeoutMs: NEVER_MS,
        stallTimeoutMs: NEVER_MS,
        accessTimeoutMs: NEVER_MS,
      }),
    );
    return new Card(name, folder, device, guest, stack.move());
  }

  /** What it does just now, for a message. */
  get state(): string {
    return `${this.name}: ${this.#phase}, frame ${this.guest.progress.position}`;
  }

  /** Whether a playback is going on, that nobody ends. */
  get isPlaying(): boolean {
    return this.#phase === "play" && this.guest.progress.position > 0;
  }

  /** Frames that came back to the driver in all playbacks. */
  get played(): number {
    return this.counts.frames + (this.#phase === "judge" ? 0 : this.guest.progress.position);
  }

  /** Plays until {@linkcode end}. @throws {Error} saying what was lost, or what failed */
  async run(): Promise<void> {
    let isBound = false;
    while (!this.#over) {
      if (!isBound) {
        this.#phase = "probe";
        await this.guest.probe(NEVER_MS);
      }
      isBound = await this.#play();
    }
    this.hold(); // nothing more is expected of it
  }

  /** Has {@linkcode run} return after the present playback. */
  end(): void {
    this.#over = true;
  }

  /** Has the driver end its playback. */
  async interrupt(ending: Ending): Promise<void> {
    if (!this.isPlaying) return;
    this.#ending = ending;
    this.#phase = `play, ${ending}`;
    this.#interrupting = this.guest[ending]();
    await this.#interrupting;
  }

  /** The device or viola ends: what is in flight may be heard twice. */
  disturb(): void {
    this.#playback.ends++;
    this.#watch.restart();
  }

  /** Somebody that it depends on is stopped; again for each. */
  hold(): void {
    this.#watch.hold();
  }

  release(): void {
    this.#watch.release();
  }

  /** Lets quiet milliseconds pass. @throws {Error} when it stands still for too long */
  tick(ms: number): void {
    const beat = `${this.#phase} ${this.guest.progress.position} ${this.counts.playbacks}`;
    if (this.#watch.idleAfter(ms, beat) > HANG_MS) {
      throw new Error(`${this.state}: no progress for ${HANG_MS / 1000} s of a quiet machine`);
    }
  }

  get #input(): string {
    return this.folder.file(`${this.name}-input.wav`);
  }

  get #output(): string {
    return this.folder.file(`${this.name}.wav`);
  }

  /** @returns whether the driver is still bound */
  async #play(): Promise<boolean> {
    removeFile(this.#output);
    this.#playback.first += FRAMES;
    writeNumbered(this.#input, FRAMES, 0, this.#playback.first);
    this.#playback.ends = 0;
    this.#phase = "play";
    const options = {
      file: this.#input,
      periodFrames: PERIOD_FRAMES,
      periods: PERIODS,
    };
    const result = await this.guest.call("play", options).catch((error: Error) => error);
    const ending = this.#ending;
    if (result instanceof Error && ending !== "reset" && ending !== "kill") throw result;
    const frames = result instanceof Error ? this.guest.progress.position : result.frames;
    if (!(result instanceof Error) && result.ioErrors > 0) {
      throw new Error(`${this.state}: ${result.ioErrors} periods failed`);
    }
    await this.#interrupting;
    this.#ending = this.#interrupting = null;
    this.#phase = "judge";
    this.#judge(ending, frames);
    return ending !== "unbind" && ending !== "reset";
  }

  /** @param frames As many came back to the driver */
  #judge(ending: Ending | null, frames: number): void {
    const numbers = this.#heard();
    const heard = Math.max(0, numbers.reduce((most, n) => Math.max(most, n), -1) + 1);
    const expected = ending === null ? FRAMES : Math.max(frames, heard);
    // What is dropped by a reset may be noted as played and not be written.
    const { missing, repeated, jumpsBack } = coverageOf(
      numbers,
      ending === "reset" ? heard : expected,
    );
    const text = `${this.name}, playback ${this.counts.playbacks + this.counts.ended}: `;
    if (ending === null && frames !== FRAMES) {
      throw new Error(`${text}${frames} of ${FRAMES} frames`);
    }
    if (missing.length > 0) {
      throw new Error(`${text}${missing.length} frames are missing, from ${missing[0]} on`);
    }
    if (
      jumpsBack > this.#playback.ends || repeated > this.#playback.ends * PERIODS * PERIOD_FRAMES
    ) {
      throw new Error(
        `${text}${repeated} frames twice in ${jumpsBack} places, ${this.#playback.ends} ends`,
      );
    }
    this.#playback.wasKilled = ending === "kill";
    this.counts[ending === null ? "playbacks" : "ended"]++;
    this.counts.frames += heard;
    this.counts.repeated += repeated;
  }

  /** The numbers of the present playback's frames in the file, counted from 0. */
  #heard(): number[] {
    if (!existsFile(this.#output)) return [];
    const all = numbersOf(readNumbered(this.#output)).map((number) =>
      number - this.#playback.first
    );
    const numbers = all.filter((number) => number >= 0);
    const older = all.length - numbers.length;
    if (
      older > (this.#playback.wasKilled ? (1 + this.#playback.ends) * PERIODS * PERIOD_FRAMES : 0)
    ) {
      throw new Error(`${this.name}: ${older} frames of an earlier playback are heard again`);
    }
    return numbers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function existsFile(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function removeFile(path: string): void {
  if (existsFile(path)) Deno.removeSync(path);
}
