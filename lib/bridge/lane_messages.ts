// SPDX-License-Identifier: Apache-2.0
/**
 * What the main isolate and a lane's Workers say to each other. Plain data; the addresses and descriptors in it stay
 * the main isolate's.
 *
 * @module
 */
import type { MappedRange } from "../../ffi/mod.ts";
import type { LoopbackPort, MemoryMode } from "../loopback/port.ts";
import type { ConfigClass, QueueClass } from "../virtio/device_class.ts";
import type { FeatureNames } from "../virtio/features.ts";
import type { RingLayout } from "../virtio/split_ring.ts";
import type { MemoryUse } from "./memory_use.ts";
import type { ReplaySource } from "./replay.ts";

/** How a lane's threads run. */
export interface LaneOptions {
  /** What devices call it. */
  readonly name: string;
  /** CPUs the lane's threads are bound to; all when absent. */
  readonly cpus?: readonly number[] | undefined;
  /** SCHED_FIFO priority 1 to 99 of the lane's threads; the ordinary scheduler when absent. */
  readonly realtime?: number | undefined;
}

/** A device as both Workers of its lane are given it. */
export interface LaneDevice {
  /** Number in the process, for events and calls. */
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
  /** Another process served it before: an access may be in the page already, an interrupt may not have been raised. */
  readonly restored: boolean;
  /** The class's queues. */
  readonly queues: readonly QueueClass[];
  /** The class's own feature bits, for errors. */
  readonly featureNames: FeatureNames;
  /** Null for a class without one. */
  readonly replay: ReplaySource | null;
  /** eventfd per queue, rung by the access Worker for QUEUE_NOTIFY. Who hears it: of a shadow queue the ring Worker, else the back-end. */
  readonly kicks: readonly number[];
}

/** One ring as a back-end is given it. */
export interface ActivationRing extends RingLayout {
  /** eventfd that the back-end rings. */
  readonly call: number;
  /** eventfd that the back-end hears. */
  readonly kick: number;
  /**
   * Shadow ring: where slots for chains lie, as offsets into the memory, and the index that its first entry has. Null: the
   * ring is the driver's own.
   */
  readonly slots: { readonly start: number; readonly end: number; readonly first: number } | null;
}

/** A back-end that is activated, for the ring Worker. */
export interface Activation {
  readonly id: number;
  /** The device's life it belongs to. */
  readonly epoch: number;
  readonly rings: readonly ActivationRing[];
  /** The memory of shadow queues that the back-end is given, and the guest address that stands for its first byte. */
  readonly memory: { readonly range: MappedRange; readonly guest: number } | null;
  /** VIRTIO_F_RING_INDIRECT_DESC, between viola and the back-end. */
  readonly indirect: boolean;
  /** VIRTIO_F_RING_EVENT_IDX, between viola and the back-end. */
  readonly eventIdx: boolean;
}

/** The access Worker. */
export interface AccessContract {
  init: LaneOptions;
  calls: {
    ping(): void;
    /** Takes a device in: from now on its accesses are answered. */
    add(device: LaneDevice): void;
    /** Lets a device go: nothing of it is touched any more. */
    remove(id: number): void;
    /** Answers the access that is held. */
    release(id: number): void;
    /** Says to the driver that it must reset the device, if it is still in this life. */
    needReset(id: number, epoch: number): void;
  };
  event: AccessEvent;
}

/** The ring Worker. */
export interface RingContract {
  init: LaneOptions;
  calls: {
    ping(): void;
    /** Takes a device in: from now on its kicks are heard. */
    add(device: LaneDevice): void;
    /** Lets a device go: nothing of it is touched any more. */
    remove(id: number): void;
    /** Makes the rings of a new back-end. @returns where each begins; null when the driver's rings cannot be true */
    attach(activation: Activation): number[] | null;
    /** Lets go of a back-end: its memory and eventfds are not touched any more. */
    detach(id: number): void;
    /** The back-end listens at the shadow rings; "prepared" follows. */
    prepare(id: number): void;
    /** All rings are started; "live" follows. */
    go(id: number): void;
    /** Whether chains in flight in a queue should have come back by now. */
    isDue(id: number, queue: number): boolean;
    /** Raises a config interrupt. */
    configInterrupt(id: number): void;
  };
  event: RingEvent;
}

/** What the access Worker reports. */
export type AccessEvent =
  /** `held`: the driver waits for `Lane.release`. */
  | { id: number; kind: "status"; status: number; held: boolean }
  | { id: number; kind: "reset"; held: boolean }
  | { id: number; kind: "config"; offset: number; bytes: Uint8Array; held: boolean }
  | { id: number; kind: "bad access"; text: string };

/** What the ring Worker reports. */
export type RingEvent =
  /** The driver's ring cannot be true. */
  | { id: number; kind: "driver error"; text: string; epoch: number }
  /** The back-end's ring cannot be true. */
  | { id: number; kind: "back-end error"; text: string }
  /** The back-end knows what it must know before the rings that are the driver's own may start. */
  | { id: number; kind: "prepared" }
  /** Chains in flight were offered to a new back-end, which is live now. */
  | { id: number; kind: "live"; requeued: number; replayed: number }
  /** A repeated request was refused. */
  | { id: number; kind: "replay refused"; text: string };
