// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the console device (virtio 1.2, §5.3).
 *
 * @module
 */

/** Feature bit: cols and rows are valid. */
export const F_SIZE = 0;
/** Feature bit: there are several ports, and control queues. */
export const F_MULTIPORT = 1;
/** Feature bit: a byte that the driver writes to emerg_wr is put out. */
export const F_EMERG_WRITE = 2;

/** struct virtio_console_config: u16 cols, u16 rows, u32 max_nr_ports, u32 emerg_wr. */
export const CONSOLE_CONFIG_SIZE = 12;
/** Offset of max_nr_ports. */
export const MAX_PORTS_AT = 4;

/** struct virtio_console_control: u32 id, u16 event, u16 value. */
export const CONTROL_SIZE = 8;
/** Event of the driver: it is ready. */
export const DEVICE_READY = 0;
/** Event of the driver: it has set up port `id`. */
export const PORT_READY = 3;
/** Event of either side: port `id` was opened (value 1) or closed. */
export const PORT_OPEN = 6;
/** The most ports that a device can have queues for, with 64 queues: two for each, and two for control. */
export const MAX_PORTS = 31;
