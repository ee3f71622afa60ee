// SPDX-License-Identifier: Apache-2.0
/**
 * What a bridged device is created from, and the events it reports.
 *
 * @module
 */
import type { Reactor } from "../../ffi/mod.ts";
import type { MemoryMode, openLoopback } from "../loopback/mod.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { EventRate } from "../virtio/event_limit.ts";
import type { connectWithBackoff } from "../vhost_user/mod.ts";
import type { Lane } from "./lane.ts";
import type { DescriptorStore } from "./store/mod.ts";
import type { QueueLimits } from "./watchdog.ts";

/** What happened to a device. */
export interface BridgeEvent {
  /** The device's name. */
  device: string;
  /**
   * - `restored`: the device continues where the previous process left it
   * - `waiting`: for the back-end's socket
   * - `connected`: the back-end answered
   * - `started`: the loopback device is open and the driver may probe
   * - `running`: the back-end serves the driver
   * - `lost`: the connection to the back-end ended
   * - `resumed`: a new back-end serves the driver from where the last one stopped
   * - `reset`: the driver reset the device
   * - `error`: the driver or the back-end violated the protocol, or viola could not do something
   * - `kept`: the device has ended in this process, and the descriptor store holds its descriptors
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
  /** In words. */
  text: string;
  /** Milliseconds since the process started. */
  ms: number;
}

/** Version of the virtio-mmio registers. `auto`: 2 where the first back-end offers VIRTIO_F_VERSION_1, else 1. */
export type MmioVersion = 1 | 2 | "auto";

/** Deadlines for back-ends, in milliseconds. */
export interface BackEndPatience extends QueueLimits {
  /**
   * For an ordinary reply, at first; a reply that comes after draining or mapping may take five times that. After a late
   * reply the deadline is longer next time.
   */
  readonly replyMs: number;
}

/** Default of {@linkcode BackEndPatience}. */
export const PATIENCE: BackEndPatience = { replyMs: 2000, streamMs: 5000, requestMs: Infinity };

/**
 * How loopback devices are checked and opened.
 *
 * @internal
 */
export interface Loopbacks {
  /** See `checkLoopback`. */
  check(name: string): void;
  /** See `checkUnopenedLoopback`. */
  checkUnopened(name: string): void;
  /** See `openLoopback`. */
  open: typeof openLoopback;
}

/** What a device is created from. */
export interface DeviceSetup {
  /** The device's number in this process. */
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
  /** Holds the device's descriptors while no viola runs; null: nothing does, and the device ends with this process. */
  readonly store: DescriptorStore | null;
  readonly patience: BackEndPatience;
  readonly lane: Lane;
  /** See `connectWithBackoff`. */
  readonly connect: typeof connectWithBackoff;
  readonly reactor: Reactor;
  readonly onEvent: (event: BridgeEvent) => void;
  /** See `EVENT_RATE`. */
  readonly eventRate?: EventRate | undefined;
}
