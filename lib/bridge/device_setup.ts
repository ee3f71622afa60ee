// SPDX-License-Identifier: Apache-2.0
/**
 * What a bridged device is made of, and what it tells.
 *
 * @module
 */
import type { Reactor } from "../../ffi/mod.ts";
import type { MemoryMode, openLoopback } from "../loopback/mod.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { Lane } from "./lane.ts";
import type { DescriptorStore } from "./store/mod.ts";

/** What happened to a device. */
export interface BridgeEvent {
  /** The device's name. */
  device: string;
  /**
   * - `restored`: it goes on where a process that served it before left it
   * - `waiting`: for the back-end's socket
   * - `connected`: the back-end answered
   * - `started`: the loopback device is open and the driver may probe
   * - `running`: driver and back-end are joined
   * - `lost`: the back-end went
   * - `resumed`: another took over
   * - `reset`: the driver reset the device
   * - `error`: something broke a rule
   * - `kept`: the device has ended here, and its descriptors are kept
   */
  kind:
    | "restored"
    | "waiting"
    | "connected"
    | "started"
    | "running"
    | "lost"
    | "resumed"
    | "reset"
    | "error"
    | "kept";
  text: string;
  /** Milliseconds since the process started. */
  ms: number;
}

/** Version of the virtio-mmio registers. `auto`: 2 where the first back-end offers VIRTIO_F_VERSION_1, else 1. */
export type MmioVersion = 1 | 2 | "auto";

/** How long back-ends are waited for, in milliseconds. */
export interface BackEndPatience {
  /** For an ordinary reply; those that drain or map may take five times that. */
  readonly replyMs: number;
  /** For a request in flight, before the back-end is given up. */
  readonly requestMs: number;
}

/** See {@linkcode BackEndPatience}. */
export const PATIENCE: BackEndPatience = { replyMs: 2000, requestMs: 5000 };

/** How loopback devices are looked for and opened. */
export interface Loopbacks {
  /** See `checkLoopback`. */
  check(name: string): void;
  /** See `checkUnopenedLoopback`. */
  checkUnopened(name: string): void;
  /** See `openLoopback`. */
  open: typeof openLoopback;
}

/** What a device is made of. */
export interface DeviceSetup {
  /** Number in the process. */
  readonly id: number;
  readonly name: string;
  readonly deviceClass: DeviceClass;
  /** The back-end's socket. */
  readonly socket: string;
  /** The loopback device's name. */
  readonly loopback: string;
  readonly memory: MemoryMode;
  readonly mmioVersion: MmioVersion;
  readonly priority: number;
  readonly loopbacks: Loopbacks;
  /** What holds the device's descriptors while no viola runs; null: nothing does, it ends with this process. */
  readonly store: DescriptorStore | null;
  readonly patience: BackEndPatience;
  readonly lane: Lane;
  readonly reactor: Reactor;
  readonly onEvent: (event: BridgeEvent) => void;
}
