// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the GPIO device (virtio 1.2, §5.16).
 *
 * @module
 */

/** Feature bit: lines can interrupt, and there is an event queue. */
export const F_IRQ = 0;

/** struct virtio_gpio_config: u16 ngpio, 2 bytes padding, u32 gpio_names_size. */
export const GPIO_CONFIG_SIZE = 8;
