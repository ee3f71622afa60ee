// SPDX-License-Identifier: Apache-2.0
/**
 * The specification of an embedded CAN controller, and its contract with its owner.
 *
 * @module
 */
import {
  type DeviceContract,
  type DeviceEvent,
  type DeviceHost,
  SpecError,
} from "../../device/role.ts";
import { type BusSpec, PRIVATE_BUS } from "./bus.ts";
import { parseFilters } from "./filter.ts";
import { checkLogOut } from "./log_sink.ts";
import { checkLogIn } from "./log_source.ts";
import { busFolder, sharedBus } from "./shared_bus.ts";
import { checkInterface, socketBus } from "./socket_bus.ts";

/** The options of a controller. */
export interface CanSpec {
  /** The interface of the host that it is connected to, such as `can0`. */
  interface?: string;
  /** The shared bus that it is connected to, instead: a name. Neither: a bus with no other controller. */
  bus?: string;
  /** A candump log whose frames it receives, from when it is started. */
  logIn?: string;
  /** A candump log that is written of all it sends and receives. */
  logOut?: string;
  /** The frames that it receives, as candump's `ID:MASK` and `ID~MASK`. @default {[]} all */
  filters?: readonly string[];
  /** `real`: the log is played at its own times; `free`: as fast as the driver takes it. @default {"real"} */
  pace?: "real" | "free";
}

/** The state of a controller. */
export type CanState = "stopped" | "started" | "bus-off";

/** What a controller reports, besides the events of every device. */
export type CanEvent =
  | DeviceEvent & {
    readonly kind: "state";
    readonly state: CanState;
  }
  | DeviceEvent & {
    readonly kind: "dropped";
    /** Frames that were received and not given to the driver, since the controller was started. */
    readonly frames: number;
  };

/** What a controller has counted since it was made. */
export interface CanCounters {
  readonly state: CanState;
  /** Frames sent. */
  readonly sent: number;
  /** Frames of the driver's that were refused, or failed. */
  readonly notSent: number;
  /** Frames given to the driver. */
  readonly received: number;
  /** Frames that the filters or the driver's features kept out. */
  readonly ignored: number;
  /** Frames that were lost because the driver offered no buffers, or because the host had no room. */
  readonly dropped: number;
}

/** What a controller and its owner agree on. */
export interface CanDeviceContract extends DeviceContract {
  spec: CanSpec;
  calls: {
    /** The controller becomes bus-off, as after too many errors: until the driver starts it again. */
    busOff(): void;
    counters(): CanCounters;
  };
  event: CanEvent;
}

/** @throws {SpecError} */
export function checkCan(spec: CanSpec): void {
  const { interface: name, bus, logIn, logOut, filters = [], pace = "real" } = spec;
  if (name !== undefined && bus !== undefined) {
    throw new SpecError(
      `Cannot connect a controller to interface ${name} and to bus ${bus}: expected one of them`,
    );
  }
  if (pace !== "real" && pace !== "free") {
    throw new SpecError(`Cannot use pace "${pace}": expected real or free`);
  }
  if (bus !== undefined) busFolder(bus);
  parseFilters(filters);
  if (logIn !== undefined) checkLogIn(logIn);
  if (logOut !== undefined) checkLogOut(logOut, logIn);
  if (name !== undefined) checkInterface(name);
}

/** The bus of a specification. @throws {SpecError} */
export function busOf({ interface: name, bus }: CanSpec, host: DeviceHost<CanEvent>): BusSpec {
  if (name !== undefined) {
    return socketBus(name, (number, events, onEvent) => host.watch(number, events, onEvent));
  }
  return bus === undefined ? PRIVATE_BUS : sharedBus(bus, host);
}
