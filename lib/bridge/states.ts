// SPDX-License-Identifier: Apache-2.0
/**
 * The types of a bridged device's state machine: state, events and actions. All plain data; {@linkcode Problem.cause} is
 * only passed through.
 *
 * @module
 */
import type { MemoryMode } from "../loopback/port.ts";
import type { BackEndProfile, ConfigClass } from "../virtio/device_class.ts";

/** The settings that stay the same for the device's life. */
export interface Rules {
  readonly name: string;
  /** The back-end's socket, for reports. */
  readonly socket: string;
  /** The loopback node, for reports. */
  readonly node: string;
  readonly memory: MemoryMode;
  /** Whether a descriptor store keeps the device. */
  readonly isKept: boolean;
  readonly config: ConfigClass["access"];
  /** The features that viola stands in for where a back-end lacks them. */
  readonly ownFeatures: bigint;
  /** The first deadline for a reply, in milliseconds. */
  readonly replyMs: number;
  /** The deadline for the replayed requests, in milliseconds. */
  readonly replayMs: number;
  /** Time between two checks of a back-end that has requests, in milliseconds. */
  readonly checkMs: number;
}

/** Something that went wrong. */
export interface Problem {
  readonly text: string;
  /**
   * `late`: no reply in time. `lost`: the connection ended. `refused`: the back-end refused something, or replied with what is
   * malformed or does not fit. `other`: it is not the back-end's.
   */
  readonly fault: "late" | "lost" | "refused" | "other";
  /** The original error; the device's `done` promise rejects with it. */
  readonly cause: Error;
}

/** What the driver has written to the config space. */
export interface ConfigWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A config space after the driver's writes. */
export function withWrites(
  config: Uint8Array,
  writes: readonly ConfigWrite[],
): Uint8Array<ArrayBuffer> {
  const written = Uint8Array.from(config);
  for (const { offset, bytes } of writes) written.set(bytes, offset);
  return written;
}

/** The work left until driver and back-end see the same config space. */
export interface ConfigSync {
  /** The driver's writes that are not sent to the back-end yet: the last one of each field. */
  readonly writes: readonly ConfigWrite[];
  /** The writes that are being sent. */
  readonly sent: readonly ConfigWrite[];
  /** The writes of the driver's present life that a back-end has; the next one is sent them again. */
  readonly written: readonly ConfigWrite[];
  /** The back-end's config space must be read again. */
  readonly isStale: boolean;
}

/** What a back-end offers. */
export interface Offer extends BackEndProfile {
  /** Whether it notes its chains in flight for the next back-end; only asked for with direct memory. */
  readonly tracksInflight: boolean;
}

/** The device as it is presented to the driver. */
export interface Device {
  /** Bytes of config space. */
  readonly configSize: number;
  /** How many back-ends, one after the other, can be given the driver's memory. */
  readonly backEndLives: number;
  /** Text about the node's used mappings, for the report after a restore; empty where they are not limited. */
  readonly mappings: string;
}

/** What is known of the driver. */
export interface Driver {
  /** Counts the driver's resets of the device. */
  readonly epoch: number;
  /** DRIVER_OK is set, neither FAILED nor DEVICE_NEEDS_RESET. */
  readonly isReady: boolean;
  /** DEVICE_NEEDS_RESET was requested in this epoch. */
  readonly isFaulty: boolean;
  /** A back-end has served the driver in this epoch. */
  readonly isServed: boolean;
  /** The features that the driver accepted. */
  readonly features: bigint;
}

/** The register access that the driver waits in. */
export type Held = "reset" | "DRIVER_OK" | "config";

/** What is kept about earlier back-ends. */
export interface History {
  /** The wait before the next connection attempt, in milliseconds. */
  readonly retryMs: number;
  /** The deadline for a reply, in milliseconds. */
  readonly replyMs: number;
  /** The reason of the last loss, and how often in a row it occurred. */
  readonly lastLoss: string;
  readonly sameLosses: number;
  /** The least size of shadow rings where a back-end lacks indirect tables that the driver uses, see `FLAT_SIZE`. */
  readonly flatSize: number;
  /** It was reported that a back-end does not track its requests in flight. */
  readonly isOrderReported: boolean;
}

/** The phase a device is in, with the data that exists only in that phase. */
export type Phase =
  | { readonly at: InactivePhase }
  | { readonly at: EndingPhase; readonly epoch: number }
  | {
    readonly at: "activating";
    readonly epoch: number;
    /** The requests to replay before the direct rings start have been replayed. */
    readonly isReplayed: boolean;
  }
  | ServingPhase;

/** The back-end has its rings, and serves the driver or is about to. */
export interface ServingPhase {
  readonly at: "resuming" | "running";
  readonly epoch: number;
  /** The next check of the back-end is due. */
  readonly isCheckDue: boolean;
  /** A slow queue was reported in this activation. */
  readonly isSlow: boolean;
}

/** Phases in which the back-end serves no rings. */
export type InactivePhase =
  | "restoring"
  | "awaiting access"
  | "connecting"
  | "preparing"
  | "presenting"
  | "announcing"
  | "waiting"
  | "backing off"
  | "closing"
  | "closed"
  | "failed";

/** Phases in which an activation ends; it belongs to one epoch of the driver. */
export type EndingPhase =
  | "stopping"
  | "detaching"
  | "resetting";

/** The name of a phase; see the table in `machine.ts`. */
export type PhaseName = Phase["at"];

/** The whole state of a device. */
export interface State {
  readonly rules: Rules;
  readonly phase: Phase;
  /** The running job; at most one at a time, and its result is an event. */
  readonly job: JobName | null;
  readonly device: Device | null;
  readonly driver: Driver;
  readonly held: Held | null;
  readonly config: ConfigSync;
  readonly isConnected: boolean;
  /** What the negotiated back-end offers. */
  readonly backEnd: Offer | null;
  /** Why the current back-end must be disconnected; null while it need not be. */
  readonly loss: Problem | null;
  /** Why the device ends: `close` was called, or a failure. Null while it does not end. */
  readonly end: "close" | Problem | null;
  readonly history: History;
}

/** An action that takes time. Exactly one `done` or `failed` event with its name follows. */
export type Job =
  /** Restores the device from the descriptor store, or checks that the node can be opened. */
  | { readonly do: "restore" }
  /** Connects, without a deadline for the back-end to listen, and does the handshake. */
  | { readonly do: "connect"; readonly replyMs: number }
  /** Waits for the lane's Workers and the descriptor store. */
  | { readonly do: "prepare" }
  /** Opens the node, puts its descriptors into the store and adds it to the lane, which answers its accesses. */
  | { readonly do: "present" }
  /** START_LOOPBACK, unless an access of the driver has shown that it was done. */
  | { readonly do: "announce" }
  /**
   * Creates the activation's memory and attaches the ring Worker to its rings; sets features and memory at the back-end and
   * starts its shadow rings; begins the replay. If there are direct rings `replayed` follows, else `live`.
   */
  | {
    readonly do: "activate";
    readonly epoch: number;
    readonly features: bigint;
    readonly flatSize: number;
  }
  /** Starts the direct rings, and resubmits the requests in flight; `live` follows. */
  | { readonly do: "resume" }
  /** Checks that the lane answers and the back-end makes progress. */
  | { readonly do: "check" }
  | { readonly do: "write config"; readonly writes: readonly ConfigWrite[] }
  | { readonly do: "read config" }
  /** Stops the back-end's rings; the back-end drains them first. */
  | { readonly do: "stop" }
  /** Detaches the ring Worker from the activation's memory, and frees that. */
  | { readonly do: "detach" }
  | { readonly do: "reset device"; readonly epoch: number }
  /** Removes the device from its lane and closes the node. */
  | { readonly do: "free" };

export type JobName = Job["do"];

/** An action that is done at once and has no result. */
export type Effect =
  /** Starts the events about the driver. */
  | { readonly do: "listen" }
  | { readonly do: "abort connect" }
  | { readonly do: "close front-end" }
  /** Notes that the device was announced: its driver has made an access. */
  | { readonly do: "mark announced" }
  /** Starts the deadline for a driver to bind; it is reported when none does. */
  | { readonly do: "expect driver" }
  /** Answers the access that the driver waits in. */
  | { readonly do: "release"; readonly held: Held }
  | { readonly do: "needs reset"; readonly epoch: number }
  /** Sets the features that the driver's next probe is offered. */
  | { readonly do: "offer"; readonly features: bigint }
  /** Replaces the config space that the driver reads, and raises a config interrupt: always, never or if it changed. */
  | {
    readonly do: "publish config";
    readonly config: Uint8Array;
    readonly interrupt: InterruptWhen;
  }
  | { readonly do: "config interrupt" }
  | { readonly do: "count"; readonly counter: Counter; readonly by: number }
  | { readonly do: "set timer"; readonly timer: Timer; readonly ms: number }
  | { readonly do: "clear timer"; readonly timer: Timer }
  | { readonly do: "report"; readonly kind: ReportKind; readonly text: string };

export type InterruptWhen = "always" | "never" | "if changed";
export type Action = Job | Effect;
export type Counter = "connects" | "losses" | "replays";
export type Timer = "retry" | "first access" | "held" | "replay" | "check" | "stop";

/** See `BridgeEvent`. */
export type ReportKind =
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

/** A restored device. */
export interface Restored extends Device {
  /** Whether START_LOOPBACK is known to have been done. */
  readonly isAnnounced: boolean;
  readonly driver: Pick<Driver, "epoch" | "isReady" | "features">;
}

/**
 * The result of a check. `idle`: no request is due, and `kicked` follows when the driver kicks a queue. `slow`: a queue
 * without a time limit has given nothing back for a while.
 */
export type Finding =
  | { readonly kind: "idle" }
  | { readonly kind: "well" }
  | { readonly kind: "stuck"; readonly text: string }
  | { readonly kind: "slow"; readonly text: string };

/** The state that a back-end still holds of the driver's last epoch. `clean`: it was not reset, but holds nothing that matters. */
export type Residue = "reset" | "clean" | "used";

/** The results of jobs; those without an entry have none. */
export interface Results {
  "restore": Restored | null;
  "connect": Offer;
  "present": Device;
  /** False: a ring of the driver's is malformed, or the driver has reset it. */
  "activate": boolean;
  "check": Finding;
  "read config": Uint8Array;
  "reset device": Residue;
  /** Text for the user: what holds the device's descriptors now, and how to continue; null when nothing does. */
  "free": string | null;
}

export type ResultOf<J extends JobName> = J extends keyof Results ? Results[J] : undefined;

/** A job succeeded. */
export type Done = {
  [J in JobName]: { readonly on: "done"; readonly job: J; readonly result: ResultOf<J> };
}[JobName];

/** An input of the state machine. */
export type Event =
  | Done
  | { readonly on: "failed"; readonly job: JobName; readonly problem: Problem }
  | { readonly on: "timer"; readonly timer: Timer }
  /** The driver accepted features, set DRIVER_OK or FAILED, or reset the device; the fields hold the present state. */
  | {
    readonly on: "driver";
    readonly driver: Pick<Driver, "epoch" | "isReady" | "features">;
    /** DEVICE_NEEDS_RESET was set just now. */
    readonly needsReset: boolean;
    readonly held: "reset" | "DRIVER_OK" | null;
  }
  | { readonly on: "config written"; readonly write: ConfigWrite; readonly isHeld: boolean }
  /** The driver kicked a queue, the first time since a check found the back-end idle. */
  | { readonly on: "kicked" }
  /** The driver made an invalid register access. */
  | { readonly on: "bad access"; readonly text: string }
  /** A ring of the driver's is malformed. */
  | { readonly on: "driver error"; readonly text: string; readonly epoch: number }
  /** All requests that must come before the direct rings start have been replayed. */
  | { readonly on: "replayed" }
  /** The chains in flight were resubmitted to a new back-end, which now serves the driver. */
  | { readonly on: "live"; readonly resubmitted: number; readonly replayed: number }
  /** The back-end refused a replayed request. */
  | { readonly on: "replay refused"; readonly text: string }
  /** A ring of the back-end's is malformed. */
  | { readonly on: "back-end error"; readonly text: string }
  | { readonly on: "back-end lost"; readonly problem: Problem }
  | { readonly on: "config changed" }
  /** A Worker of the lane failed. */
  | { readonly on: "lane failed"; readonly problem: Problem }
  | { readonly on: "close" };
