// SPDX-License-Identifier: Apache-2.0
/**
 * A guest: a software machine with one device on a software loopback node, and a driver that does what Linux's does. For demos,
 * tests and benchmarks without a kernel module.
 *
 * @module
 */
import { asset, BlockingWorker, PeerSignal } from "../../ffi/mod.ts";
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

/** The contract between the software driver of a class and its guest's owner. */
export type DriverContractOf<D extends DeviceClass> = D["roles"]["driver"] extends
  RoleUrl<DriverRole<infer C>> | undefined ? C : DriverContract;

/** Options of {@linkcode startGuest}. */
export interface GuestOptions extends Partial<Patience> {
  /** The device's name in errors. @default {"guest"} */
  name?: string;
  /** How long a register access may take, in milliseconds. @default {4000} */
  accessTimeoutMs?: number;
  /** Called with an error that happened outside any call. */
  onTrouble?: (text: string) => void;
}

/** The Worker has deadlines for everything it waits for; playing a long file may take any time. */
const NO_DEADLINE_MS = 2 ** 31 - 1;

/** The owner's side of a guest. One call at a time; {@linkcode Guest.stop} and the like end it early. */
export class Guest<D extends DeviceClass = DeviceClass> implements AsyncDisposable {
  readonly #worker: BlockingWorker<GuestContract>;
  readonly #wires: SoftWires;
  readonly #progress: Progress<DriverContractOf<D>["progress"]>;
  readonly #signal = PeerSignal.create();
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

  /** The present progress of the running call, or the final one of the last call. */
  get progress(): ProgressSnapshot<DriverContractOf<D>["progress"]> {
    return this.#progress.snapshot();
  }

  /** Makes a call that may take long, and that {@linkcode stop} and the like can end. @throws {Error} when one is running */
  #run<T>(name: string, call: () => Promise<T>): Promise<T> {
    if (this.#running !== null) {
      return Promise.reject(
        new Error(`Cannot ${name}: another call is running; wait for it or stop it first`),
      );
    }
    this.#progress.clear(); // a reader must not see the counts of the last call
    const running = call().finally(() => {
      this.#running = null;
      this.#progress.set("order", ORDER.none);
    });
    this.#running = running;
    return running;
  }

  /** Gives an order to the running call, if there is one, and waits until it has ended. */
  async #end(order: number): Promise<void> {
    if (this.#running === null) return;
    this.#give(order);
    try {
      await this.#running;
    } catch { /* reported to the caller */ }
  }

  /** Ends a playback or recording in order: the stream is stopped and released, and the call returns its result. */
  stop(): Promise<void> {
    return this.#end(ORDER.stop);
  }

  /**
   * Pauses a playback until {@linkcode resume}: the stream is stopped, and keeps what the device has. Drivers of other
   * classes take no notice.
   *
   * @throws {Error} when nothing runs
   */
  pause(): void {
    if (this.#running === null) throw new Error("Cannot pause: no call is running");
    this.#give(ORDER.pause);
  }

  /** Lets a paused playback go on. @throws {Error} when none is paused */
  resume(): void {
    if (this.#progress.get("order") !== ORDER.pause) {
      throw new Error("Cannot resume: no call is paused");
    }
    this.#give(ORDER.none);
  }

  /** Gives an order to the thread. */
  #give(order: number): void {
    this.#progress.set("order", order);
    this.#signal.signal(this.#wires.interrupt); // wakes it; it finds no interrupt pending
  }

  /**
   * Ends a playback or recording as if its application got SIGKILL: the driver sends STOP and RELEASE and waits for no
   * response, so they and the stream's buffers may still be with the device when the next application starts.
   */
  kill(): Promise<void> {
    return this.#end(ORDER.kill);
  }

  /**
   * Unbinds the driver in order, during playback too, as `echo … > unbind` does. {@linkcode probe} binds it again.
   *
   * @throws {Error} when it is not bound
   */
  async unbind(): Promise<void> {
    await this.stop();
    await this.#run("unbind", () => this.#worker.callWithin(NO_DEADLINE_MS, "unbind"));
  }

  /**
   * Resets the device at once: the running call fails, STATUS 0 is written while the device has buffers, all memory is
   * freed. {@linkcode probe} then starts afresh.
   */
  async reset(): Promise<void> {
    await this.#end(ORDER.drop);
    await this.#run("reset", () => this.#worker.callWithin(NO_DEADLINE_MS, "reset"));
  }

  /**
   * Waits for the device to appear and binds the driver.
   *
   * @param timeoutMs How long to wait for the device to appear
   * @throws {Error} when it does not appear, or as Linux's probe would fail
   */
  probe(timeoutMs = 10_000): Promise<ProbeResult & DriverContractOf<D>["found"]> {
    const probe = () => this.#worker.callWithin(NO_DEADLINE_MS, "probe", timeoutMs);
    return this.#run("probe", probe) as Promise<ProbeResult & DriverContractOf<D>["found"]>;
  }

  /** Makes a call that the driver's class defines; {@linkcode stop} ends it in order. @throws {Error} */
  call<Name extends keyof DriverContractOf<D>["calls"] & string>(
    name: Name,
    ...args: ArgumentsOf<DriverContractOf<D>["calls"][Name]>
  ): Promise<ResultOf<DriverContractOf<D>["calls"][Name]>> {
    const call = () => this.#worker.callWithin(NO_DEADLINE_MS, "call", name, args);
    return this.#run(name, call) as Promise<never>; // the type of the result is the role's own
  }

  /** Makes the device do something small. @throws {Error} when it does not respond */
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

  /** Ends the guest at once. The device is left as it is, as by a machine that loses power. */
  async close(): Promise<void> {
    await this.#end(ORDER.drop);
    await this.#worker.close();
    this.#signal.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Starts a guest on a software loopback node of this process; its device may appear later.
 *
 * ```ts ignore
 * const guest = await startGuest(sound, node.wires);
 * await guest.probe();
 * await guest.call("play", { file: "card0.wav" });
 * ```
 *
 * @param wires The node's; the node must stay open as long as the guest
 * @throws {TypeError} when the class has no software driver
 */
export async function startGuest<D extends DeviceClass>(
  deviceClass: D,
  wires: SoftWires,
  options: GuestOptions = {},
): Promise<Guest<D>> {
  const { name = "guest", controlTimeoutMs = 1000, stallTimeoutMs = 10_000 } = options;
  // Less than the time a Worker has to end, so that a Worker whose device is gone still ends in time.
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
