// SPDX-License-Identifier: Apache-2.0
/**
 * What the registers of a virtio-mmio device work on: the device's state, and whom they tell of what the driver does.
 *
 * @module
 */
import type { FeatureNames } from "./features.ts";
import { ACCESS_COUNTERS, STATUS_DEVICE_NEEDS_RESET } from "./state.ts";
import type { AccessState } from "./state_writers.ts";

/** What the driver's accesses set in motion. Each is called before the access is answered. */
export interface RegisterEvents {
  /** There is something in the available ring of a queue that is ready; before DRIVER_OK, too. */
  notify(queue: number): void;
  /** Status bits were added, by the driver or, where it is DEVICE_NEEDS_RESET, by this register file. */
  statusChanged(status: number, previous: number): void;
  /** The driver reset the device; the state is reset already. */
  reset(): void;
  /** The driver took this queue back, and no other; its state is reset already. */
  queueReset(queue: number): void;
  /** The driver wrote these bytes of the config space; they are in the state. */
  configWritten(offset: number, size: number): void;
  /** The driver did what it must not; told once for each kind of it, and counted in the state each time. */
  badAccess(text: string): void;
}

/** What the functions behind the registers work on. */
export class Machine {
  readonly #said = new Set<string>();

  constructor(
    readonly state: AccessState,
    readonly events: RegisterEvents,
    readonly featureNames: FeatureNames,
  ) {}

  /**
   * Counts what the driver must not do, and says it the first time.
   *
   * @param kind One of a few, so that what is remembered stays small
   */
  refuse(kind: string, text: string): void {
    this.state.count(ACCESS_COUNTERS.badAccesses);
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    this.events.badAccess(text);
  }

  /** Refuses what leaves driver and device at odds: only a reset helps, and the driver can see it. */
  break(kind: string, text: string): void {
    this.refuse(kind, text);
    addStatus(this, STATUS_DEVICE_NEEDS_RESET);
  }
}

/** Adds status bits, and tells of it. */
export function addStatus(m: Machine, bits: number): void {
  const previous = m.state.status;
  if ((bits & ~previous) === 0) return;
  m.state.orStatus(bits);
  m.events.statusChanged(m.state.status, previous);
}

/** As the standard writes offsets and values. */
export function hex(n: number): string {
  return `0x${n.toString(16)}`;
}
