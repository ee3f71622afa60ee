// SPDX-License-Identifier: Apache-2.0
/**
 * Device classes (virtio 1.2, §5) as one table: another class is another row.
 *
 * @module
 */
import type { FeatureNames } from "./features.ts";

/**
 * How a queue's buffers come back, and so whether silence on it means that the device is stuck:
 *
 * - `request`: each is answered as soon as the device can
 * - `stream`: each takes its time, by a clock
 * - `event`: each waits until there is something to tell
 */
export type QueueKind = "request" | "stream" | "event";

/** One queue of a class. */
export interface QueueClass {
  readonly name: string;
  readonly kind: QueueKind;
  /** Largest ring the driver may set up, in descriptors; a power of 2. */
  readonly size: number;
}

/** What a device class is, as far as transports need to know. */
export interface DeviceClass {
  /** Virtio device id. */
  readonly id: number;
  readonly name: string;
  /** What the C adapter's `-d` calls it. */
  readonly dropInNames: readonly string[];
  /** In virtqueue order. */
  readonly queues: readonly QueueClass[];
  /** Bytes of config space that a device of this class may have. */
  readonly configSize: { readonly min: number; readonly max: number };
  /** Whether the driver cannot do without the config space. */
  readonly needsConfig: boolean;
  /** The class's own feature bits. */
  readonly featureNames: FeatureNames;
}

/** The classes that are served. */
export const DEVICE_CLASSES: readonly DeviceClass[] = [
  {
    id: 4, // §5.4
    name: "rng",
    dropInNames: ["vhurng"],
    queues: [{ name: "request", kind: "request", size: 64 }],
    configSize: { min: 0, max: 0 },
    needsConfig: false,
    featureNames: {},
  },
  {
    id: 25, // §5.14
    name: "sound",
    dropInNames: ["vhusnd"],
    queues: [
      { name: "control", kind: "request", size: 64 },
      { name: "event", kind: "event", size: 64 },
      { name: "tx", kind: "stream", size: 64 },
      { name: "rx", kind: "stream", size: 64 },
    ],
    // jacks, streams, chmaps; and controls, which devices without VIRTIO_SND_F_CTLS may leave out.
    configSize: { min: 12, max: 16 },
    needsConfig: true,
    featureNames: { 0: "VIRTIO_SND_F_CTLS" },
  },
];

/** A name of the C adapter's that is recognised, and refused by that name. */
export interface UnservedDropIn {
  readonly name: string;
  /** Virtio device id. */
  readonly id: number;
}

/** What the C adapter's `-d` knows and is not served: `vrng` was built into it, the others wait for their row. */
export const UNSERVED_DROP_INS: readonly UnservedDropIn[] = [
  { name: "vrng", id: 4 },
  { name: "vhublk", id: 2 },
  { name: "vhuconsole", id: 3 },
  { name: "vhuinput", id: 18 },
  { name: "vhucan", id: 36 },
  { name: "vhugpio", id: 41 },
];

/** The class with this virtio device id. */
export function deviceClassById(id: number): DeviceClass | undefined {
  return DEVICE_CLASSES.find((row) => row.id === id);
}

/** The class of this name. */
export function deviceClassByName(name: string): DeviceClass | undefined {
  return DEVICE_CLASSES.find((row) => row.name === name);
}

/** The class that the C adapter's `-d` calls so. */
export function deviceClassByDropInName(name: string): DeviceClass | undefined {
  return DEVICE_CLASSES.find((row) => row.dropInNames.includes(name));
}
