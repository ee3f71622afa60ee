// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the I2C adapter device (virtio 1.2, §5.16).
 *
 * @module
 */

/** Feature bit: transfers of no bytes. Linux's driver demands it. */
export const F_ZERO_LENGTH_REQUEST = 0;
