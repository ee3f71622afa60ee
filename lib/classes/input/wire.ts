// SPDX-License-Identifier: Apache-2.0
/**
 * Sizes of the input device (virtio 1.2, §5.8).
 *
 * @module
 */

/**
 * struct virtio_input_config: u8 select, subsel, size; 5 bytes reserved; 128 bytes that are what the driver selected. The
 * driver writes select and subsel, then reads size and the rest.
 */
export const INPUT_CONFIG_SIZE = 136;
