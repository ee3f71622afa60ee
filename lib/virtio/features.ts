// SPDX-License-Identifier: Apache-2.0
/**
 * Feature bits of transports and rings (virtio 1.2, §6), as bit numbers. Those of a class are in the class's
 * `class.ts`.
 *
 * @module
 */

/** Legacy: an interrupt whenever the ring runs empty, whatever the driver asked for. */
export const VIRTIO_F_NOTIFY_ON_EMPTY = 24;
/** vhost: the device marks the pages it writes in a log. Never offered to a driver. */
export const VHOST_F_LOG_ALL = 26;
/** Legacy: buffers may be split into descriptors in any way. */
export const VIRTIO_F_ANY_LAYOUT = 27;
/** A descriptor may point at a table of descriptors. */
export const VIRTIO_F_RING_INDIRECT_DESC = 28;
/** Both sides give the index of the entry for which they want to be notified. */
export const VIRTIO_F_RING_EVENT_IDX = 29;
/** vhost-user: the two ends can negotiate protocol features. Never offered to a driver. */
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;
/** Virtio 1.0 or later. */
export const VIRTIO_F_VERSION_1 = 32;
/** Addresses in the ring are not plain physical ones. */
export const VIRTIO_F_ACCESS_PLATFORM = 33;
/** The packed ring. */
export const VIRTIO_F_RING_PACKED = 34;
/** Buffers are used in the order in which they were offered. */
export const VIRTIO_F_IN_ORDER = 35;
/** The device needs the barriers of real hardware. */
export const VIRTIO_F_ORDER_PLATFORM = 36;
/** Single root I/O virtualization. */
export const VIRTIO_F_SR_IOV = 37;
/** A notification carries more than the queue's index. */
export const VIRTIO_F_NOTIFICATION_DATA = 38;
/** A notification carries a value that the device chose. */
export const VIRTIO_F_NOTIF_CONFIG_DATA = 39;
/** One queue can be reset while the others run. */
export const VIRTIO_F_RING_RESET = 40;

/** Names by bit number, for messages. */
export type FeatureNames = Readonly<Record<number, string>>;

const COMMON_NAMES: FeatureNames = {
  [VIRTIO_F_NOTIFY_ON_EMPTY]: "VIRTIO_F_NOTIFY_ON_EMPTY",
  [VHOST_F_LOG_ALL]: "VHOST_F_LOG_ALL",
  [VIRTIO_F_ANY_LAYOUT]: "VIRTIO_F_ANY_LAYOUT",
  [VIRTIO_F_RING_INDIRECT_DESC]: "VIRTIO_F_RING_INDIRECT_DESC",
  [VIRTIO_F_RING_EVENT_IDX]: "VIRTIO_F_RING_EVENT_IDX",
  [VHOST_USER_F_PROTOCOL_FEATURES]: "VHOST_USER_F_PROTOCOL_FEATURES",
  [VIRTIO_F_VERSION_1]: "VIRTIO_F_VERSION_1",
  [VIRTIO_F_ACCESS_PLATFORM]: "VIRTIO_F_ACCESS_PLATFORM",
  [VIRTIO_F_RING_PACKED]: "VIRTIO_F_RING_PACKED",
  [VIRTIO_F_IN_ORDER]: "VIRTIO_F_IN_ORDER",
  [VIRTIO_F_ORDER_PLATFORM]: "VIRTIO_F_ORDER_PLATFORM",
  [VIRTIO_F_SR_IOV]: "VIRTIO_F_SR_IOV",
  [VIRTIO_F_NOTIFICATION_DATA]: "VIRTIO_F_NOTIFICATION_DATA",
  [VIRTIO_F_NOTIF_CONFIG_DATA]: "VIRTIO_F_NOTIF_CONFIG_DATA",
  [VIRTIO_F_RING_RESET]: "VIRTIO_F_RING_RESET",
};

/** The mask of feature bit `n`. */
export function bit(n: number): bigint {
  return 1n << BigInt(n);
}

/** Whether feature bit `n` is set. */
export function hasFeature(features: bigint, n: number): boolean {
  return (features & bit(n)) !== 0n;
}

/**
 * The features that are set, by name, lowest bit first: `"VIRTIO_F_VERSION_1, bit 50"`, or `"none"`.
 *
 * @param features At most 64 bits
 * @param classNames Names of the device class's own bits
 */
export function describeFeatures(features: bigint, classNames: FeatureNames = {}): string {
  const names: string[] = [];
  for (let n = 0; n < 64; n++) {
    if (hasFeature(features, n)) names.push(classNames[n] ?? COMMON_NAMES[n] ?? `bit ${n}`);
  }
  return names.length === 0 ? "none" : names.join(", ");
}
