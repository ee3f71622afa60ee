// SPDX-License-Identifier: Apache-2.0
/**
 * What the registers of a virtio-mmio device work on: the device's state, and the receiver of the driver's actions.
 *
 * @module
 */
import type { FeatureNames } from "./features.ts";
import { ACCESS_COUNTERS, STATUS_DEVICE_NEEDS_RESET } from "./state.ts";
import type { AccessState } from "./state_writers.ts";

/** What the driver does by its accesses. Each is called before the access is answered. */
export interface RegisterEvents {
  /** The driver notified a queue that is ready; may come before DRIVER_OK. */
  notify(queue: number): void;
  /** Status bits were added, by the driver or, where it is DEVICE_NEEDS_RESET, by this register file. */
  statusChanged(status: number, previous: number): void;
  /** The driver reset the device; the state is reset already. */
  reset(): void;
  /** The driver reset this queue only; its state is reset already. */
  queueReset(queue: number): void;
  /** The driver wrote these bytes of the config space; they are in the state. */
  configWritten(offset: number, size: number): void;
  /** A driver's access broke a rule; called once for each kind, counted in the state each time. */
  badAccess(text: string): void;
}

/** Context of the functions behind the registers. */
export class RegisterContext {
  readonly #reported = new Set<string>();

  constructor(
    readonly state: AccessState,
    readonly events: RegisterEvents,
    readonly featureNames: FeatureNames,
  ) {}

  /**
   * Counts a bad access, and reports the first of its kind.
   *
   * @param kind One of a small set: each is remembered
   */
  refuse(kind: string, text: string): void {
    this.state.count(ACCESS_COUNTERS.badAccesses);
    if (this.#reported.has(kind)) return;
    this.#reported.add(kind);
    this.events.badAccess(text);
  }

  /** As {@linkcode refuse}, for an access after which the device cannot be used: sets DEVICE_NEEDS_RESET. */
  break(kind: string, text: string): void {
    this.refuse(kind, text);
    addStatus(this, STATUS_DEVICE_NEEDS_RESET);
  }
}

/** Adds status bits and reports it. */
export function addStatus(m: RegisterContext, bits: number): void {
  const previous = m.state.status;
  if ((bits & ~previous) === 0) return;
  m.state.orStatus(bits);
  m.events.statusChanged(m.state.status, previous);
}

/** A number in the notation that the standard uses for offsets and values. */
export function hex(n: number): string {
  return `0x${n.toString(16)}`;
}
