// SPDX-License-Identifier: Apache-2.0
/**
 * The split virtqueue (virtio 1.2 §2.7) from both sides, over memory that the other side may change at any moment.
 *
 * @module
 */
export * from "./chain.ts";
export * from "./device_ring.ts";
export * from "./driver_queue.ts";
export * from "./driver_ring.ts";
export {
  availBytes,
  DESC_SIZE,
  descBytes,
  MAX_QUEUE_SIZE,
  type RingLayout,
  splitRingLayout,
  usedBytes,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from "./ring_layout.ts";
