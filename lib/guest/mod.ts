// SPDX-License-Identifier: Apache-2.0
/**
 * A guest: a machine with one device on a software loopback node, and Linux's driver for it, in software. For demos, tests
 * and benchmarks where no kernel module can be had.
 *
 * @module
 */
import { BlockingWorker, part, signalEvent } from "../../ffi/mod.ts";
import type { SoftWires } from "../loopback/soft.ts";
import { ORDER, Progress, type ProgressSnapshot } from "./progress.ts";
import type { Patience, ProbeResult } from "./session.ts";
import type { CardInfo } from "../classes/sound/driver.ts";
import type { CaptureOptions, PlayOptions, TransferResult } from "../classes/sound/transfer.ts";
import type {
  EntropyGuestContract,
  GuestContract,
  GuestInit,
  SoundGuestContract,
} from "./worker.ts";

export type { GuestState, ProgressSnapshot } from "./progress.ts";
export type { ProbeResult } from "./session.ts";
export type { CardInfo } from "../classes/sound/driver.ts";
export type {
  BufferOptions,
  CaptureOptions,
  PlayOptions,
  TransferResult,
} from "../classes/sound/transfer.ts";

/** Which driver the guest has. */
export type GuestKind = "sound" | "rng";

/** Options of {@linkcode startGuest}. */
export interface GuestOptions extends Partial<Patience> {
  /** How the device is called in errors. @default {"guest"} */
  name?: string;
  /** How long a register access may take, in milliseconds. @default {4000} */
  accessTimeoutMs?: number;
  /** Called with what went wrong while nothing was asked of the guest. */
  onTrouble?: (text: string) => void;
}

/** The Worker has deadlines of its own for all that it waits for; a long file takes as long as it is. */
const NO_DEADLINE_MS = 2 ** 31 - 1;

/** The owner's side of a guest. One thing is done at a time; what ends it early is a call of its own. */
export abstract class Guest implements AsyncDisposable {
  readonly #worker: BlockingWorker<GuestContract>;
  readonly #wires: SoftWires;
  readonly #progress: Progress;
  #running: Promise<unknown> | null = null;

  constructor(worker: BlockingWorker<GuestContract>, wires: SoftWires, progress: Progress) {
    this.#worker = worker;
    this.#wires = wires;
    this.#progress = progress;
  }

  /** How far the call that runs has come, at this moment; else the last one. */
  get progress(): ProgressSnapshot {
    return this.#progress.snapshot();
  }

  /** Runs a call that may take long, and can be ended by {@linkcode stop} and the like. @throws {Error} when one runs */
  protected run<T>(name: string, call: () => Promise<T>): Promise<T> {
    if (this.#running !== null) {
      return Promise.reject(new Error(`Cannot ${name}: the guest is at work, expected it idle`));
    }
    this.#progress.begin(0); // Not what the last stream left there, whoever looks first.
    const running = call().finally(() => {
      this.#running = null;
      this.#progress.set("order", ORDER.none);
    });
    this.#running = running;
    return running;
  }

  /** Gives an order to what runs, if anything does, and waits until it has ended. */
  async #end(order: number): Promise<void> {
    if (this.#running === null) return;
    this.#progress.set("order", order);
    signalEvent(this.#wires.interrupt); // Wakes the thread; that no interrupt is pending it will see.
    try {
      await this.#running;
    } catch { /* whoever made the call is told */ }
  }

  /** Ends a playback or recording in order: the stream is stopped and released, and the call's result says so. */
  stop(): Promise<void> {
    return this.#end(ORDER.stop);
  }

  /**
   * Ends a playback or recording as SIGKILL ends its application: the driver sends STOP and RELEASE and waits for no
   * answer, so that the device may have them, and the stream's buffers, when the next application comes.
   */
  kill(): Promise<void> {
    return this.#end(ORDER.kill);
  }

  /**
   * Lets the device go in order, in mid-play too, as `echo … > unbind` does. {@linkcode probe} binds it again.
   *
   * @throws {Error} when it is not bound
   */
  async unbind(): Promise<void> {
    await this.stop();
    await this.run("unbind", () => this.#worker.callWithin(NO_DEADLINE_MS, "unbind"));
  }

  /**
   * Lets the device go at once: what runs fails, STATUS 0 is written although buffers are with the device, everything is
   * freed. {@linkcode probe} then begins from nothing.
   */
  async reset(): Promise<void> {
    await this.#end(ORDER.drop);
    await this.run("reset", () => this.#worker.callWithin(NO_DEADLINE_MS, "reset"));
  }

  /** Measures register accesses, one after another. @returns nanoseconds of each */
  measureAccess(rounds: number): Promise<Float64Array<ArrayBuffer>> {
    return this.run(
      "measureAccess",
      () => this.#worker.callWithin(NO_DEADLINE_MS, "measureAccess", rounds),
    );
  }

  /** Ends the guest, whatever it is doing. The device is left as it is, as by a machine that loses power. */
  async close(): Promise<void> {
    await this.#end(ORDER.drop);
    await this.#worker.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A guest with Linux's virtio_snd. */
export class SoundGuest extends Guest {
  readonly #worker: BlockingWorker<SoundGuestContract>;

  constructor(worker: BlockingWorker<SoundGuestContract>, wires: SoftWires, progress: Progress) {
    super(worker, wires, progress);
    this.#worker = worker;
  }

  /**
   * Waits for the card and binds the driver.
   *
   * @param timeoutMs How long to wait for the card to appear
   * @throws {Error} that it did not, or as Linux's probe would fail
   */
  probe(timeoutMs = 10_000): Promise<ProbeResult & CardInfo> {
    return this.run("probe", () => this.#worker.callWithin(NO_DEADLINE_MS, "probe", timeoutMs));
  }

  /** Plays a file to its end, or until {@linkcode stop}. @throws {Error} */
  play(options: PlayOptions): Promise<TransferResult> {
    return this.run("play", () => this.#worker.callWithin(NO_DEADLINE_MS, "play", options));
  }

  /** Records a file of exactly so many frames, or until {@linkcode stop}. @throws {Error} */
  capture(options: CaptureOptions): Promise<TransferResult> {
    return this.run("capture", () => this.#worker.callWithin(NO_DEADLINE_MS, "capture", options));
  }
}

/** A guest with Linux's virtio_rng. */
export class EntropyGuest extends Guest {
  readonly #worker: BlockingWorker<EntropyGuestContract>;

  constructor(worker: BlockingWorker<EntropyGuestContract>, wires: SoftWires, progress: Progress) {
    super(worker, wires, progress);
    this.#worker = worker;
  }

  /** @see {@linkcode SoundGuest.probe} */
  probe(timeoutMs = 10_000): Promise<ProbeResult> {
    return this.run("probe", () => this.#worker.callWithin(NO_DEADLINE_MS, "probe", timeoutMs));
  }

  /** Reads entropy. @param count Bytes */
  readEntropy(count: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.run(
      "readEntropy",
      () => this.#worker.callWithin(NO_DEADLINE_MS, "readEntropy", count),
    );
  }

  /** Measures requests: from offered to given back and its interrupt handled. @returns nanoseconds of each */
  measureRequests(rounds: number): Promise<Float64Array<ArrayBuffer>> {
    return this.run(
      "measureRequests",
      () => this.#worker.callWithin(NO_DEADLINE_MS, "measureRequests", rounds),
    );
  }
}

/**
 * Starts a guest on a software loopback node of this process; its device need not be there yet.
 *
 * @param wires The node's; it must outlive the guest
 */
export function startGuest(
  kind: "sound",
  wires: SoftWires,
  options?: GuestOptions,
): Promise<SoundGuest>;
export function startGuest(
  kind: "rng",
  wires: SoftWires,
  options?: GuestOptions,
): Promise<EntropyGuest>;
export async function startGuest(
  kind: GuestKind,
  wires: SoftWires,
  options: GuestOptions = {},
): Promise<Guest> {
  const { name = "guest", controlTimeoutMs = 1000, stallTimeoutMs = 10_000 } = options;
  // Less than the time a Worker has to end, so that one whose device is gone still ends by itself.
  const { accessTimeoutMs = 4000, onTrouble } = options;
  const progress = new Progress();
  const { shared } = progress;
  const init: GuestInit = {
    kind,
    wires,
    name,
    shared,
    controlTimeoutMs,
    stallTimeoutMs,
    accessTimeoutMs,
  };
  const script = part("lib/guest/worker.ts");
  const settings = { name: `guest ${name}`, init, onEvent: (text: string) => onTrouble?.(text) };
  return kind === "sound"
    ? new SoundGuest(await BlockingWorker.start(script, settings), wires, progress)
    : new EntropyGuest(await BlockingWorker.start(script, settings), wires, progress);
}
