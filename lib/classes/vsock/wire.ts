// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the socket device (virtio 1.2, §5.10).
 *
 * @module
 */

/** Feature bit: stream sockets; without any of the three it is these that there are. */
export const F_STREAM = 0;
/** Feature bit: sockets of sequenced packets. */
export const F_SEQPACKET = 1;
/** Feature bit: stream sockets are there only with the feature bit for them. */
export const F_NO_IMPLIED_STREAM = 2;

/** struct virtio_vsock_config: u64 guest_cid. */
export const VSOCK_CONFIG_SIZE = 8;
