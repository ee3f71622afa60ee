// SPDX-License-Identifier: Apache-2.0
/**
 * Devices of our own, each a vhost-user back-end at a socket: sound cards and entropy.
 *
 * @module
 */
import { BlockingWorker, part } from "../../ffi/mod.ts";
import { checkSpec } from "../classes/sound/check.ts";
import { type DeviceContract, type DeviceEvent, type DeviceSpec } from "../classes/sound/spec.ts";

export { checkSpec } from "../classes/sound/check.ts";
export {
  type DeviceEvent,
  type DeviceSpec,
  parseSink,
  parseSource,
  type RngSpec,
  type SinkSpec,
  type SoundSpec,
  type SourceSpec,
  SpecError,
} from "../classes/sound/spec.ts";

/** Options of {@linkcode startDevice}. */
export interface DeviceOptions {
  /** Called with what the device reports. */
  onEvent?: (event: DeviceEvent) => void;
  /** Called once if the device fails as a whole: it has ended then, but for {@linkcode RunningDevice.close}. */
  onFailure?: (error: Error) => void;
}

/** A device that serves its socket. */
export interface RunningDevice extends AsyncDisposable {
  readonly spec: DeviceSpec;
  /** Plugs a sound card's jack in or out. @throws {Error} when it has no such jack */
  setJack(id: number, connected: boolean): Promise<void>;
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
 * @throws {SpecError} when the specification asks for something impossible
 * @throws {WavError} when a source's file cannot be read
 * @throws {Error} when the socket cannot be listened at
 */
export async function startDevice(
  spec: DeviceSpec,
  { onEvent, onFailure }: DeviceOptions = {},
): Promise<RunningDevice> {
  checkSpec(spec);
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const worker = await BlockingWorker.start<DeviceContract>(part("lib/device/worker.ts"), {
    name: `${spec.class} device at ${spec.socket}`,
    init: spec,
    onEvent: (event) => event.kind === "finished" ? finish() : onEvent?.(event),
    onFailure: (error) => {
      finish();
      onFailure?.(error);
    },
  });
  const close = async (now?: AbortSignal): Promise<void> => {
    try {
      await worker.call("finish");
      await untilAborted(finished, now);
    } catch { /* it has failed, or ended */ }
    await worker.close();
  };
  return {
    spec,
    setJack: (id, connected) => worker.call("setJack", id, connected),
    close,
    [Symbol.asyncDispose]: () => close(),
  };
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
