// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the SCMI device (virtio 1.2, §5.17).
 *
 * @module
 */

/** Feature bit: the device sends notifications and delayed responses, and there is an event queue. */
export const F_P2A_CHANNELS = 0;
/** Feature bit: statistics lie in shared memory regions. */
export const F_SHARED_MEMORY = 1;
