// SPDX-License-Identifier: Apache-2.0
/**
 * What a bridged device's state machine works on: its state, what may happen, and what it has done. All of it is plain
 * data; {@linkcode Problem.cause} is only handed on.
 *
 * @module
 */
import type { MemoryMode } from "../loopback/port.ts";
import type { BackEndProfile, ConfigClass } from "../virtio/device_class.ts";

/** What does not change in a device's life. */
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
  /** How long a reply may take at first, in milliseconds. */
  readonly replyMs: number;
  /** How long the requests that are replayed may take, in milliseconds. */
  readonly replayMs: number;
  /** Between two looks at a back-end that serves, in milliseconds. */
  readonly lookMs: number;
}

/** Something that went wrong. */
export interface Problem {
  readonly text: string;
  /** `late`: no reply in time. `lost`: the connection ended. `other`: all the rest. */
  readonly fault: "late" | "lost" | "other";
  /** The error it comes from, for whoever awaits the device's end. */
  readonly cause: Error;
}

/** What the driver has written to the config space. */
export interface ConfigWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What is to be done to make driver and back-end see one config space. */
export interface ConfigSync {
  /** What the driver wrote and the back-end is yet to be told: of each field what was written last. */
  readonly writes: readonly ConfigWrite[];
  /** What it is being told. */
  readonly sent: readonly ConfigWrite[];
  /** The back-end's config space is to be read again. */
  readonly isStale: boolean;
}

/** The device as it is presented to the driver. */
export interface Device {
  /** Bytes of config space. */
  readonly configSize: number;
  /** How many back-ends can be given the driver's memory. */
  readonly backEndLives: number;
  /** How many mappings of the node are used, for the report when it was restored; empty where they are not limited. */
  readonly mappings: string;
}

/** What is known of the driver. */
export interface Driver {
  /** Which life of the device this is: another after each reset. */
  readonly epoch: number;
  /** DRIVER_OK is set, neither FAILED nor DEVICE_NEEDS_RESET. */
  readonly isReady: boolean;
  /** It was told to reset the device. */
  readonly isFaulty: boolean;
  /** A back-end has served it in this life. */
  readonly isServed: boolean;
  /** What it accepted. */
  readonly features: bigint;
}

/** The register access that the driver waits in. */
export type Held = "reset" | "DRIVER_OK" | "config";

/** What is remembered of the back-ends so far. */
export interface History {
  /** The wait before the next attempt, in milliseconds. */
  readonly retryMs: number;
  /** How long a reply may take, in milliseconds. */
  readonly replyMs: number;
  /** The last loss, and how often in a row it came. */
  readonly lastLoss: string;
  readonly sameLosses: number;
}

/** Where a device is in its life, and what is only true there. */
export type Phase =
  | { readonly at: Standing }
  | { readonly at: Activation; readonly epoch: number }
  | { readonly at: "replaying"; readonly epoch: number; readonly isReplayed: boolean }
  | {
    readonly at: "resuming" | "running";
    readonly epoch: number;
    /** A look is due. */
    readonly isDue: boolean;
    /** It was said that the back-end takes its time. */
    readonly isSlow: boolean;
  };

/** Phases in which the back-end serves no rings. */
export type Standing =
  | "restoring"
  | "awaiting access"
  | "connecting"
  | "negotiating"
  | "preparing"
  | "presenting"
  | "announcing"
  | "waiting"
  | "backing off"
  | "closing"
  | "closed"
  | "failed";

/** Phases of one activation, which belongs to one life of the driver. */
export type Activation =
  | "attaching"
  | "starting"
  | "starting rings"
  | "stopping"
  | "detaching"
  | "resetting";

/** See the table in `machine.ts`. */
export type PhaseName = Phase["at"];

/** The whole state of a device. */
export interface State {
  readonly rules: Rules;
  readonly phase: Phase;
  /** What is being done: there is one at a time, and its result is an event. */
  readonly job: JobName | null;
  readonly device: Device | null;
  readonly driver: Driver;
  readonly held: Held | null;
  readonly config: ConfigSync;
  readonly isConnected: boolean;
  /** What the back-end that was negotiated with says of itself. */
  readonly backEnd: BackEndProfile | null;
  /** Why the back-end at hand is to be let go. */
  readonly loss: Problem | null;
  /** Why the device ends; a problem where it was not asked to. */
  readonly end: "close" | Problem | null;
  readonly history: History;
}

/** What takes its time. Exactly one `done` or `failed` with its name follows. */
export type Job =
  /** Takes the device from the descriptor store, or checks that the node can be opened. */
  | { readonly do: "restore" }
  /** Connects, however long it takes for the back-end to listen. */
  | { readonly do: "connect"; readonly replyMs: number }
  | { readonly do: "negotiate" }
  /** Waits for the lane's Workers, and for who is to hold the device's descriptors. */
  | { readonly do: "prepare" }
  /** Opens the node, has its descriptors held and the lane answer its accesses. */
  | { readonly do: "present" }
  /** START_LOOPBACK, unless the driver has shown that it was done. */
  | { readonly do: "announce" }
  /** Makes the activation's memory and has the ring Worker take its rings. */
  | { readonly do: "attach"; readonly epoch: number; readonly features: bigint }
  /** Features, memory, and the rings that viola itself serves. */
  | { readonly do: "start" }
  /** Has the ring Worker replay what comes before the requests in flight; `replayed` follows. */
  | { readonly do: "replay" }
  /** Starts the rings that lie in the driver's memory. */
  | { readonly do: "start rings" }
  /** Has the ring Worker resubmit what is in flight; `live` follows. */
  | { readonly do: "resume" }
  /** Looks whether the lane and the back-end still get on. */
  | { readonly do: "look" }
  | { readonly do: "write config"; readonly writes: readonly ConfigWrite[] }
  | { readonly do: "read config" }
  /** Stops the rings: what was taken is given back first. */
  | { readonly do: "stop" }
  /** Has the ring Worker let go of the activation's memory, and frees it. */
  | { readonly do: "detach" }
  | { readonly do: "reset device"; readonly epoch: number }
  /** Takes the device from its lane and closes the node. */
  | { readonly do: "free" };

export type JobName = Job["do"];

/** What is done at once, and has no result. */
export type Deed =
  /** From now on the driver's doings are told. */
  | { readonly do: "listen" }
  | { readonly do: "abort connect" }
  | { readonly do: "close front-end" }
  /** The driver has shown that the device was announced. */
  | { readonly do: "mark announced" }
  /** Waits for a driver to take the device, and says so if none does. */
  | { readonly do: "expect driver" }
  /** Answers the access that the driver waits in. */
  | { readonly do: "release"; readonly held: Held }
  | { readonly do: "needs reset"; readonly epoch: number }
  /** What the driver's next probe is offered. */
  | { readonly do: "offer"; readonly features: bigint }
  /** Shows the driver this config space, and tells it so by an interrupt: always, never, or if it is another one. */
  | { readonly do: "publish config"; readonly config: Uint8Array; readonly tells: Tells }
  | { readonly do: "config interrupt" }
  | { readonly do: "count"; readonly counter: Counter; readonly by: number }
  | { readonly do: "set timer"; readonly timer: Timer; readonly ms: number }
  | { readonly do: "clear timer"; readonly timer: Timer }
  | { readonly do: "report"; readonly kind: ReportKind; readonly text: string };

export type Tells = "always" | "never" | "if changed";
export type Action = Job | Deed;
export type Counter = "connects" | "losses" | "replays";
export type Timer = "retry" | "first access" | "held" | "replay" | "look" | "stop";

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

/** What a device that was restored is. */
export interface Restored extends Device {
  /** Whether START_LOOPBACK is known to have been done. */
  readonly isAnnounced: boolean;
  readonly driver: Pick<Driver, "epoch" | "isReady" | "features">;
}

/** What a look finds. `slow`: a queue that may take its time has given nothing back for so long. */
export type Finding =
  | { readonly kind: "well" }
  | { readonly kind: "stuck"; readonly text: string }
  | { readonly kind: "slow"; readonly text: string };

/** What a back-end knows of the driver's last life. `clean`: it was not reset, and remembers nothing that matters. */
export type Slate = "reset" | "clean" | "used";

/** What jobs result in; those without an entry only end. */
export interface Results {
  "restore": Restored | null;
  "negotiate": BackEndProfile;
  "present": Device;
  /** False: the driver's rings were not to be had. */
  "attach": boolean;
  "look": Finding;
  "read config": Uint8Array;
  "reset device": Slate;
  /** Who holds the device's descriptors now, and what to do about it; null when nobody does. */
  "free": string | null;
}

export type ResultOf<J extends JobName> = J extends keyof Results ? Results[J] : undefined;

/** The end of a job that went well. */
export type Done = {
  [J in JobName]: { readonly on: "done"; readonly job: J; readonly result: ResultOf<J> };
}[JobName];

/** What may happen to a device. */
export type Event =
  | Done
  | { readonly on: "failed"; readonly job: JobName; readonly problem: Problem }
  | { readonly on: "timer"; readonly timer: Timer }
  /** The driver accepted features, said DRIVER_OK, failed, or reset the device: what holds now. */
  | {
    readonly on: "driver";
    readonly driver: Pick<Driver, "epoch" | "isReady" | "features">;
    /** DEVICE_NEEDS_RESET was set just now. */
    readonly needsReset: boolean;
    readonly held: "reset" | "DRIVER_OK" | null;
  }
  | { readonly on: "config written"; readonly write: ConfigWrite; readonly isHeld: boolean }
  /** The driver broke a rule in a register. */
  | { readonly on: "bad access"; readonly text: string }
  /** The driver broke a rule in its rings. */
  | { readonly on: "driver error"; readonly text: string; readonly epoch: number }
  | { readonly on: "replayed" }
  | { readonly on: "live"; readonly requeued: number; readonly replayed: number }
  | { readonly on: "replay refused"; readonly text: string }
  /** The back-end broke a rule in its rings. */
  | { readonly on: "back-end error"; readonly problem: Problem }
  | { readonly on: "back-end lost"; readonly problem: Problem }
  | { readonly on: "config changed" }
  /** A Worker of the lane failed. */
  | { readonly on: "lane failed"; readonly problem: Problem }
  | { readonly on: "close" };
