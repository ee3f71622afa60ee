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
