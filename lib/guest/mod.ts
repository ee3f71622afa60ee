// SPDX-License-Identifier: Apache-2.0
/**
 * A guest: a machine with one device on a software loopback node, and Linux's driver for it, in software. For demos, tests
 * and benchmarks where no kernel module can be had.
 *
 * @module
 */
import { asset, BlockingWorker, signalEvent } from "../../ffi/mod.ts";
import type { SoftWires } from "../loopback/soft.ts";
import {
  type ArgumentsOf,
  type DeviceClass,
  type ResultOf,
  type RoleUrl,
  roleUrl,
} from "../virtio/device_class.ts";
import { createProgress, ORDER, Progress, type ProgressSnapshot } from "./progress.ts";
import type { DriverContract, DriverRole, Patience } from "./role.ts";
import type { ProbeResult } from "./session.ts";
import type { GuestContract, GuestInit } from "./worker.ts";

export type { ProgressLayout, ProgressSnapshot } from "./progress.ts";
export type { DriverContract, DriverRole, Patience } from "./role.ts";
export type { ProbeResult } from "./session.ts";
export type { DeviceIdentity } from "./transport.ts";

/** What the software driver of a class agrees on with its guest's owner. */
export type DriverContractOf<D extends DeviceClass> = D["roles"]["driver"] extends
  RoleUrl<DriverRole<infer C>> | undefined ? C : DriverContract;

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
export class Guest<D extends DeviceClass = DeviceClass> implements AsyncDisposable {
  readonly #worker: BlockingWorker<GuestContract>;
  readonly #wires: SoftWires;
  readonly #progress: Progress<DriverContractOf<D>["progress"]>;
  #running: Promise<unknown> | null = null;

  /** For {@linkcode startGuest}. */
  constructor(
    worker: BlockingWorker<GuestContract>,
    wires: SoftWires,
    progress: Progress<DriverContractOf<D>["progress"]>,
  ) {
    this.#worker = worker;
    this.#wires = wires;
    this.#progress = progress;
  }

  /** How far the call that runs has come, at this moment; else the last one. */
  get progress(): ProgressSnapshot<DriverContractOf<D>["progress"]> {
    return this.#progress.snapshot();
  }

  /** Runs a call that may take long, and can be ended by {@linkcode stop} and the like. @throws {Error} when one runs */
  #run<T>(name: string, call: () => Promise<T>): Promise<T> {
    if (this.#running !== null) {
      return Promise.reject(
        new Error(`Cannot ${name}: the guest does something else, expected it idle`),
      );
    }
    this.#progress.clear(); // Not what the last call left there, whoever looks first.
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
    await this.#run("unbind", () => this.#worker.callWithin(NO_DEADLINE_MS, "unbind"));
  }

  /**
   * Lets the device go at once: what runs fails, STATUS 0 is written although buffers are with the device, everything is
   * freed. {@linkcode probe} then begins from nothing.
   */
  async reset(): Promise<void> {
    await this.#end(ORDER.drop);
    await this.#run("reset", () => this.#worker.callWithin(NO_DEADLINE_MS, "reset"));
  }

  /**
   * Waits for the device and binds the driver.
   *
   * @param timeoutMs How long to wait for the device to appear
   * @throws {Error} that it did not, or as Linux's probe would fail
   */
  probe(timeoutMs = 10_000): Promise<ProbeResult & DriverContractOf<D>["found"]> {
    const probe = () => this.#worker.callWithin(NO_DEADLINE_MS, "probe", timeoutMs);
    return this.#run("probe", probe) as Promise<ProbeResult & DriverContractOf<D>["found"]>;
  }

  /** Asks the driver for something that its class knows; {@linkcode stop} ends it in order. @throws {Error} */
  call<Name extends keyof DriverContractOf<D>["calls"] & string>(
    name: Name,
    ...args: ArgumentsOf<DriverContractOf<D>["calls"][Name]>
  ): Promise<ResultOf<DriverContractOf<D>["calls"][Name]>> {
    const call = () => this.#worker.callWithin(NO_DEADLINE_MS, "call", name, args);
    return this.#run(name, call) as Promise<never>; // the class's own role is what answers
  }

  /** Uses the device for something small that it must answer. @throws {Error} when it does not */
  exercise(): Promise<void> {
    return this.#run("exercise", () => this.#worker.callWithin(NO_DEADLINE_MS, "exercise"));
  }

  /** Measures register accesses, one after another. @returns nanoseconds of each */
  measureAccess(rounds: number): Promise<Float64Array<ArrayBuffer>> {
    return this.#run(
      "measureAccess",
      () => this.#worker.callWithin(NO_DEADLINE_MS, "measureAccess", rounds),
    );
  }

  /** Ends the guest, whatever it is doing. The device is left as it is, as by a machine that loses power. */
  async close(): Promise<void> {
    await this.#end(ORDER.drop);
    await this.#worker.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Starts a guest on a software loopback node of this process; its device need not be there yet.
 *
 * ```ts ignore
 * const guest = await startGuest(sound, node.wires);
 * await guest.probe();
 * await guest.call("play", { file: "card0.wav" });
 * ```
 *
 * @param wires The node's; it must outlive the guest
 * @throws {TypeError} when the class has no software driver
 */
export async function startGuest<D extends DeviceClass>(
  deviceClass: D,
  wires: SoftWires,
  options: GuestOptions = {},
): Promise<Guest<D>> {
  const { name = "guest", controlTimeoutMs = 1000, stallTimeoutMs = 10_000 } = options;
  // Less than the time a Worker has to end, so that one whose device is gone still ends by itself.
  const { accessTimeoutMs = 4000, onTrouble } = options;
  const shared = createProgress();
  const init: GuestInit = {
    role: roleUrl(deviceClass, "driver").href,
    deviceId: deviceClass.id,
    wires,
    name,
    shared,
    controlTimeoutMs,
    stallTimeoutMs,
    accessTimeoutMs,
  };
  const script = asset("lib/guest/worker.ts");
  const onEvent = (text: string) => onTrouble?.(text);
  const settings = { name: `guest ${name}`, init, onEvent };
  const worker = await BlockingWorker.start<GuestContract>(script, settings);
  try {
    return new Guest<D>(worker, wires, new Progress(await worker.call("layout"), shared));
  } catch (error) {
    await worker.close();
    throw error;
  }
}
