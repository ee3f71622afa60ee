// SPDX-License-Identifier: Apache-2.0
/**
 * How the devices of a scene are: from what was reported of them, and their counters.
 *
 * @module
 */
import type { BridgeEvent } from "../bridge/mod.ts";
import type { SceneEvent } from "./run.ts";

/** A queue's counters by name; `queue` is its name, `inFlight` what its back-end has. */
export interface QueueStatus {
  readonly queue: string;
  readonly inFlight: number;
  readonly [counter: string]: string | number;
}

/** How a device is. */
export interface DeviceStatus {
  readonly name: string;
  /** What was last reported of it, see `BridgeEvent`; `failed` while it is about to be started again. */
  readonly state: string;
  /** Milliseconds since then. */
  readonly forMs: number;
  /** How often it was not served: its back-end was lost, or it could not be started, however often that was tried. */
  readonly outages: number;
  /** The last error, in words. */
  readonly lastError: string | null;
  /** The driver's status byte (virtio 1.2 §2.1); null before the driver can see the device. */
  readonly driverStatus: number | null;
  readonly queues: readonly QueueStatus[];
}

/** As `Bridge.counters` has it, of one device. */
interface DeviceCounters {
  readonly device: string;
  readonly status: number;
  readonly queues: readonly QueueStatus[];
}

/** What was reported of a device. */
interface Seen {
  state: string;
  sinceMs: number;
  outages: number;
  lastError: string | null;
}

/** States in which a device is not served. */
const OUT = new Set(["lost", "failed"]);

/** Follows the devices of a scene. */
export class SceneStatus {
  readonly #seen = new Map<string, Seen>();

  /** @param now A monotonic clock, in milliseconds */
  constructor(readonly now: () => number = () => performance.now()) {}

  /** Something happened. */
  see({ device, kind, text }: BridgeEvent | SceneEvent): void {
    if (device === null) return;
    if (kind === "removed") return void this.#seen.delete(device);
    const fresh = { state: "", sinceMs: 0, outages: 0, lastError: null };
    const seen = this.#seen.get(device) ?? fresh;
    this.#seen.set(device, seen);
    if (kind === "error" || OUT.has(kind)) seen.lastError = text;
    if (OUT.has(kind) && !OUT.has(seen.state)) seen.outages++;
    if (kind === "error" || seen.state === kind) return;
    seen.state = kind;
    seen.sinceMs = this.now();
  }

  /** How all devices are now. @param counters As `Bridge.counters` returns them */
  devices(counters: readonly unknown[]): DeviceStatus[] {
    const byName = new Map((counters as DeviceCounters[]).map((one) => [one.device, one]));
    return [...this.#seen].map(([name, { sinceMs, ...seen }]) => ({
      name,
      ...seen,
      forMs: Math.round(this.now() - sinceMs),
      driverStatus: byName.get(name)?.status ?? null,
      queues: byName.get(name)?.queues ?? [],
    }));
  }
}

/** The names of bits of the driver's status byte. */
const STATUS_BITS = [
  [1, "ACKNOWLEDGE"],
  [2, "DRIVER"],
  [8, "FEATURES_OK"],
  [4, "DRIVER_OK"],
  [64, "DEVICE_NEEDS_RESET"],
  [128, "FAILED"],
] as const;

/** What the driver has got to, in words: the last of what it has set. */
export function driverText(status: number | null): string {
  if (status === null) return "no device yet";
  if (status === 0) return "no driver";
  return STATUS_BITS.findLast(([bit]) => (status & bit) !== 0)?.[1] ?? String(status);
}
