// SPDX-License-Identifier: Apache-2.0
/**
 * Embedded devices: vhost-user back-ends of our own, each at a socket and in a Worker of its own.
 *
 * @module
 */
import { asset, BlockingWorker } from "../../ffi/mod.ts";
import {
  type ArgumentsOf,
  type DeviceClass,
  type ResultOf,
  type RoleUrl,
  roleUrl,
} from "../virtio/device_class.ts";
import type { DeviceContract, DeviceEvent, DeviceRole } from "./role.ts";
import { SpecError } from "./role.ts";
import type { EmbeddedContract } from "./worker.ts";

export type { DeviceContract, DeviceEvent, DeviceRole };
export { SpecError };

/** What the embedded device of a class agrees on with its owner. */
export type ContractOf<D extends DeviceClass> = D["roles"]["device"] extends
  RoleUrl<DeviceRole<infer C>> | undefined ? C : DeviceContract;

/** How a device is to be: the path of the socket that it listens at, and what its class knows. */
export type DeviceSpec<D extends DeviceClass = DeviceClass> =
  & { readonly socket: string }
  & ContractOf<D>["spec"];

/** Options of {@linkcode startDevice}. */
export interface DeviceOptions<D extends DeviceClass = DeviceClass> {
  /** Called with what the device reports. */
  onEvent?: (event: DeviceEvent | ContractOf<D>["event"]) => void;
  /** Called once if the device fails as a whole: it has ended then, but for `close`. */
  onFailure?: (error: Error) => void;
}

/** A device that serves its socket. */
export interface RunningDevice<D extends DeviceClass = DeviceClass> extends AsyncDisposable {
  /** The path of its socket. */
  readonly socket: string;
  /** Asks the device for something that its class knows. @throws {Error} what the device throws */
  call<Name extends keyof ContractOf<D>["calls"] & string>(
    name: Name,
    ...args: ArgumentsOf<ContractOf<D>["calls"][Name]>
  ): Promise<ResultOf<ContractOf<D>["calls"][Name]>>;
  /**
   * Removes the socket, closes files, whole and valid, and lets commands finish for as long as the specification gives
   * them; again is no harm.
   *
   * @param now Kills those that still work when it is aborted
   */
  close(now?: AbortSignal): Promise<void>;
}

/**
 * Starts a device in a Worker of its own; it serves one front-end after another.
 *
 * ```ts ignore
 * const card = await startDevice(sound, { socket: "/run/card0", sinks: ["null"] });
 * ```
 *
 * @throws {TypeError} when the class has no embedded device
 * @throws {SpecError} when the specification asks for something impossible
 * @throws {Error} when the socket cannot be listened at
 */
export async function startDevice<D extends DeviceClass>(
  deviceClass: D,
  { socket, ...spec }: DeviceSpec<D>,
  { onEvent, onFailure }: DeviceOptions<D> = {},
): Promise<RunningDevice<D>> {
  const { id: deviceId, name } = deviceClass;
  const role = roleUrl(deviceClass, "device").href;
  if (socket === "") throw new SpecError("Cannot listen at an empty path");
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const worker = await BlockingWorker.start<EmbeddedContract>(asset("lib/device/worker.ts"), {
    name: `${name} device at ${socket}`,
    init: { role, deviceId, socket, spec },
    onEvent: (event) => "finished" in event ? finish() : onEvent?.(event),
    onFailure: (error) => {
      finish();
      onFailure?.(error);
    },
  }).catch(rethrow);
  const close = async (now?: AbortSignal): Promise<void> => {
    try {
      await worker.call("finish");
      await untilAborted(finished, now);
    } catch { /* it has failed, or ended */ }
    await worker.close();
  };
  return {
    socket,
    // The device's own role is what answers.
    call: (call, ...args) => worker.call("call", call, args) as Promise<never>,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** What came from the Worker has lost its class. */
function rethrow(error: Error): never {
  if (error.name === "SpecError") throw new SpecError(error.message, { cause: error });
  throw error;
}

/** Waits for something, or for the end of the wait. */
function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  signal.addEventListener("abort", end, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", end));
}
