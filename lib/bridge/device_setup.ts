// SPDX-License-Identifier: Apache-2.0
/**
 * What a bridged device is made of, and what it tells.
 *
 * @module
 */
import type { Reactor } from "../../ffi/mod.ts";
import type { MemoryMode, openLoopback } from "../loopback/mod.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { connectWithBackoff } from "../vhost_user/mod.ts";
import type { Lane } from "./lane.ts";
import type { DescriptorStore } from "./store/mod.ts";
import type { QueueLimits } from "./watchdog.ts";

/** What happened to a device. */
export interface BridgeEvent {
  /** The device's name. */
  device: string;
  /**
   * - `restored`: it goes on where a process that served it before left it
   * - `waiting`: for the back-end's socket
   * - `connected`: the back-end answered
   * - `started`: the loopback device is open and the driver may probe
   * - `running`: the back-end serves the driver
   * - `lost`: the back-end went
   * - `resumed`: a back-end serves the driver where the last one stopped
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
  /** In words. */
  text: string;
  /** Milliseconds since the process started. */
  ms: number;
}

/** Version of the virtio-mmio registers. `auto`: 2 where the first back-end offers VIRTIO_F_VERSION_1, else 1. */
export type MmioVersion = 1 | 2 | "auto";

/** How long back-ends are waited for, in milliseconds. */
export interface BackEndPatience extends QueueLimits {
  /** For an ordinary reply, at first; those that drain or map may take five times that. Who is late has longer next time. */
  readonly replyMs: number;
}

/** See {@linkcode BackEndPatience}. */
export const PATIENCE: BackEndPatience = { replyMs: 2000, streamMs: 5000, requestMs: Infinity };

/** What a device asks of its lane. */
export type LanePort = Pick<
  Lane,
  | "ready"
  | "add"
  | "remove"
  | "attach"
  | "detach"
  | "prepare"
  | "go"
  | "answers"
  | "isDue"
  | "configInterrupt"
  | "release"
  | "needReset"
>;

/**
 * How loopback devices are looked for and opened.
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
  readonly lane: LanePort;
  /** See `connectWithBackoff`. */
  readonly connect: typeof connectWithBackoff;
  readonly reactor: Reactor;
  readonly onEvent: (event: BridgeEvent) => void;
}
