// SPDX-License-Identifier: Apache-2.0
/**
 * The messages between the main isolate and a lane's Workers. Plain data; the mappings and descriptors named in it remain
 * owned by the main isolate.
 *
 * @module
 */
import type { MappedRange } from "../../ffi/mod.ts";
import type { LoopbackPort, MemoryMode } from "../loopback/port.ts";
import type { ConfigClass, QueueClass } from "../virtio/device_class.ts";
import type { FeatureNames } from "../virtio/features.ts";
import type { RingLayout } from "../virtio/split_ring.ts";
import type { Arming } from "./arming.ts";
import type { Progress } from "./lane_queue.ts";
import type { MemoryUse } from "./memory_use.ts";
import type { ReplaySource } from "./replay.ts";
import type { Event } from "./states.ts";

/** How a lane's threads run. */
export interface LaneOptions {
  /** What devices call it. */
  readonly name: string;
  /** CPUs the lane's threads are bound to; all when absent. */
  readonly cpus?: readonly number[] | undefined;
  /** SCHED_FIFO priority 1 to 99 of the lane's threads; the ordinary scheduler when absent. */
  readonly realtime?: number | undefined;
}

/** A device, as sent to both Workers of its lane. */
export interface LaneDevice {
  /** The device's number in this process, for events and calls. */
  readonly id: number;
  readonly name: string;
  readonly priority: number;
  readonly memory: MemoryMode;
  /** `forwarded`: the driver waits in a write to the config space for {@linkcode AccessContract} `release`. */
  readonly config: ConfigClass["access"];
  readonly port: LoopbackPort;
  /** The device's state. */
  readonly state: MappedRange;
  readonly memoryUse: MemoryUse;
  /** Whether the device's watchdog is armed. */
  readonly arming: Arming;
  /** A previous process served it: an access may be pending in the page, and an interrupt may not have been raised. */
  readonly restored: boolean;
  /** The class's queues. */
  readonly queues: readonly QueueClass[];
  /** The class's own feature bits, for errors. */
  readonly featureNames: FeatureNames;
  /** Null for a class without one. */
  readonly replay: ReplaySource | null;
  /**
   * eventfd per queue, signalled by the access Worker for QUEUE_NOTIFY: that of a shadow queue is watched by the ring Worker,
   * that of a direct queue by none, it is used while there is no back-end.
   */
  readonly kicks: readonly number[];
}

/** One ring, as a back-end gets it. */
export interface ActivationRing extends RingLayout {
  /** eventfd that the back-end signals. */
  readonly call: number;
  /** eventfd that the back-end listens on. */
  readonly kick: number;
  /**
   * For a shadow ring: where the slots for chains begin and end, as offsets into the memory, and the index of its first
   * entry. Null for a direct queue, whose ring is the driver's own.
   */
  readonly slots: { readonly start: number; readonly end: number; readonly first: number } | null;
}

/** An activation, as sent to the ring Worker. */
export interface Activation {
  readonly id: number;
  /** The epoch of the device that it belongs to. */
  readonly epoch: number;
  readonly rings: readonly ActivationRing[];
  /** The memory of shadow queues, shared with the back-end, and the guest address of its first byte. */
  readonly memory: { readonly range: MappedRange; readonly guest: number } | null;
  /** VIRTIO_F_RING_INDIRECT_DESC, between viola and the back-end. */
  readonly indirect: boolean;
  /** VIRTIO_F_RING_EVENT_IDX, between viola and the back-end. */
  readonly eventIdx: boolean;
  /** The back-end knows the chains in flight in direct rings: earlier back-ends of this epoch have noted them. */
  readonly isTracked: boolean;
}

/** The access Worker. */
export interface AccessContract {
  init: LaneOptions;
  calls: {
    /** Adds a device and starts answering its accesses. */
    add(device: LaneDevice): void;
    /** Removes a device; the Worker does not touch its memory or descriptors afterwards. */
    remove(id: number): void;
    /** Routes QUEUE_NOTIFY to these eventfds, by queue; where one is missing, to that of the device. */
    route(id: number, kicks: readonly (number | undefined)[]): void;
    /** Answers the access that is held. */
    release(id: number): void;
    /** Sets DEVICE_NEEDS_RESET, unless the driver has reset the device since this epoch. */
    needReset(id: number, epoch: number): void;
  };
  event: AccessEvent;
}

/** The ring Worker. */
export interface RingContract {
  init: LaneOptions;
  calls: {
    /** Adds a device and starts listening for its kicks. */
    add(device: LaneDevice): void;
    /** Removes a device; the Worker does not touch its memory or descriptors afterwards. */
    remove(id: number): void;
    /** Creates the rings of a new back-end. @returns each ring's first index; null when a ring of the driver's is malformed */
    attach(activation: Activation): number[] | null;
    /** Detaches a back-end; the Worker does not touch its memory or eventfds afterwards. */
    detach(id: number): void;
    /**
     * The back-end has started the shadow rings: replays requests to it. If it has direct rings "replayed" follows, else chains
     * in flight are resubmitted and "live" follows.
     */
    replay(id: number): void;
    /** The back-end has started its direct rings: resubmits the chains in flight; "live" follows. */
    resume(id: number): void;
    /** What became of the chains of each queue, for the watchdog. */
    progress(id: number): Progress[];
    /** Raises a config interrupt. */
    configInterrupt(id: number): void;
  };
  event: RingEvent;
}

/** What the access Worker reports. */
export type AccessEvent =
  /** `held`: the driver waits for {@linkcode AccessContract} `release`. */
  | { id: number; kind: "status"; status: number; held: boolean }
  | { id: number; kind: "reset"; held: boolean }
  | { id: number; kind: "config"; offset: number; bytes: Uint8Array; held: boolean }
  /** The driver kicked a queue while the watchdog was not armed; it is now. */
  | { id: number; kind: "kicked" }
  | { id: number; kind: "bad access"; text: string };

/** What the ring Worker reports: events of the device's state machine. */
export type RingEvent = { readonly id: number } & Extract<Event, { on: RingEventName }>;

type RingEventName = "replayed" | "live" | "replay refused" | "driver error" | "back-end error";
