// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the file system device (virtio 1.2, §5.11).
 *
 * @module
 */

/** Feature bit: the device notifies, and its first request queue is the third queue instead of the second. */
export const F_NOTIFICATION = 0;

/** struct virtio_fs_config: 36 bytes tag, u32 num_request_queues; u32 notify_buf_size follows with F_NOTIFICATION. */
export const FS_CONFIG_SIZE = 40;
/** Offset of num_request_queues. */
export const REQUEST_QUEUES_AT = 36;
