// SPDX-License-Identifier: Apache-2.0
/**
 * Embedded devices: viola's own vhost-user back-ends, each at a socket and in a Worker of its own.
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

/** The contract between the embedded device of a class and its owner. */
export type ContractOf<D extends DeviceClass> = D["roles"]["device"] extends
  RoleUrl<DeviceRole<infer C>> | undefined ? C : DeviceContract;

/** A device's specification: the path of the socket that it listens at, and the options of its class. */
export type DeviceSpec<D extends DeviceClass = DeviceClass> =
  & { readonly socket: string }
  & ContractOf<D>["spec"];

/** Options of {@linkcode startDevice}. */
export interface DeviceOptions<D extends DeviceClass = DeviceClass> {
  /** Called with each event that the device reports. */
  onEvent?: (event: DeviceEvent | ContractOf<D>["event"]) => void;
  /** Called once if the device fails; it serves nothing then and can only be closed. */
  onFailure?: (error: Error) => void;
}

/** A running device. */
export interface RunningDevice<D extends DeviceClass = DeviceClass> extends AsyncDisposable {
  /** The path of its socket. */
  readonly socket: string;
  /** Makes a call that the device's class defines. @throws {Error} what the device throws */
  call<Name extends keyof ContractOf<D>["calls"] & string>(
    name: Name,
    ...args: ArgumentsOf<ContractOf<D>["calls"][Name]>
  ): Promise<ResultOf<ContractOf<D>["calls"][Name]>>;
  /**
   * Removes the socket, completes and closes files, and lets commands finish for as long as the specification gives
   * them. Calling it again does nothing.
   *
   * @param now Kills the commands that are still running when it is aborted
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
 * @throws {SpecError} when the specification is invalid
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
    // The type of the result is the role's own.
    call: (call, ...args) => worker.call("call", call, args) as Promise<never>,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** Errors from the Worker arrive without their class: restores it, and throws. */
function rethrow(error: Error): never {
  if (SpecError.is(error)) throw new SpecError(error.message, { cause: error });
  throw error;
}

/** Waits until `work` has ended or the signal is aborted. */
function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => resolve();
  signal.addEventListener("abort", end, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", end));
}
