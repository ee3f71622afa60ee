// SPDX-License-Identifier: Apache-2.0
/**
 * Structures and codes of the console device (virtio 1.2, §5.3), little endian.
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
/** Offset of emerg_wr. */
export const EMERG_WR_AT = 8;

/** Queue of control messages to the driver, if there are several ports. */
export const VQ_CONTROL_RX = 2;
/** Queue of control messages of the driver. */
export const VQ_CONTROL_TX = 3;

/** The receive queue of port `id`; its transmit queue is the next. The control queues come after those of port 0. */
export function rxQueueOf(id: number): number {
  return id === 0 ? 0 : 2 * id + 2;
}

/** struct virtio_console_control: u32 id, u16 event, u16 value. A name, or a size, follows. */
export const CONTROL_SIZE = 8;
/** struct virtio_console_resize: u16 cols, u16 rows. Some versions of Linux read them the other way around. */
export const RESIZE_SIZE = 4;

/** Event of the driver: it is ready (value 1), or not. */
export const DEVICE_READY = 0;
/** Event of the device: there is a port `id`. */
export const PORT_ADD = 1;
/** Event of the device: port `id` is no more. */
export const PORT_REMOVE = 2;
/** Event of the driver: it has set up port `id`. */
export const PORT_READY = 3;
/** Event of the device: port `id` is a console. */
export const CONSOLE_PORT = 4;
/** Event of the device: the size of console `id` has changed. */
export const RESIZE = 5;
/** Event of either side: port `id` was opened (value 1) or closed. */
export const PORT_OPEN = 6;
/** Event of the device: the name of port `id` follows, UTF-8 without a NUL. */
export const PORT_NAME = 7;

/** The most ports that a device can have queues for, with 64 queues: two for each, and two for control. */
export const MAX_PORTS = 31;

/** The size of a terminal, in characters. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/** A control message, without what follows it. */
export interface ControlMessage {
  readonly id: number;
  readonly event: number;
  readonly value: number;
}

const NOTHING = new Uint8Array(0);

/** Writes a control message, and what follows it. */
export function encodeControl(
  { id, event, value }: ControlMessage,
  rest: Uint8Array = NOTHING,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(CONTROL_SIZE + rest.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, id, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  bytes.set(rest, CONTROL_SIZE);
  return bytes;
}

/** Reads a control message. @returns null when it is too short to be one */
export function decodeControl(view: DataView): ControlMessage | null {
  if (view.byteLength < CONTROL_SIZE) return null;
  return {
    id: view.getUint32(0, true),
    event: view.getUint16(4, true),
    value: view.getUint16(6, true),
  };
}

/** Writes what follows {@linkcode RESIZE}. */
export function encodeResize({ cols, rows }: TerminalSize): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(RESIZE_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, cols, true);
  view.setUint16(2, rows, true);
  return bytes;
}

/** Reads what follows {@linkcode RESIZE}. @returns null when it is too short */
export function decodeResize(view: DataView): TerminalSize | null {
  if (view.byteLength < RESIZE_SIZE) return null;
  return { cols: view.getUint16(0, true), rows: view.getUint16(2, true) };
}

/** Writes the config space; emerg_wr is the driver's, and reads as 0. */
export function encodeConfig(
  { cols, rows, maxPorts }: TerminalSize & { readonly maxPorts: number },
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(CONSOLE_CONFIG_SIZE);
  bytes.set(encodeResize({ cols, rows }));
  new DataView(bytes.buffer).setUint32(MAX_PORTS_AT, maxPorts, true);
  return bytes;
}
