// SPDX-License-Identifier: Apache-2.0
/**
 * GPIO chips of the host: the character device's interface, version 2 (`<linux/gpio.h>`, Linux 5.10 or later).
 *
 * @module
 */
import { unwrap, WOULD_BLOCK } from "./errno.ts";
import { Fd, ioctl, O_RDONLY, readFd, setNonblocking } from "./fd.ts";

/** ioctl requests, by the kernel's names. */
export const GPIO_REQUESTS = {
  GPIO_GET_CHIPINFO_IOCTL: 0x8044b401,
  GPIO_V2_GET_LINEINFO_IOCTL: 0xc100b405,
  GPIO_V2_GET_LINE_IOCTL: 0xc250b407,
  GPIO_V2_LINE_SET_CONFIG_IOCTL: 0xc110b40d,
  GPIO_V2_LINE_GET_VALUES_IOCTL: 0xc010b40e,
  GPIO_V2_LINE_SET_VALUES_IOCTL: 0xc010b40f,
} as const;

/** Flags of a line, by the kernel's names; all of them are below 2^32. */
export const GPIO_LINE_FLAGS = {
  GPIO_V2_LINE_FLAG_INPUT: 0x004,
  GPIO_V2_LINE_FLAG_OUTPUT: 0x008,
  GPIO_V2_LINE_FLAG_EDGE_RISING: 0x010,
  GPIO_V2_LINE_FLAG_EDGE_FALLING: 0x020,
  GPIO_V2_LINE_FLAG_BIAS_PULL_UP: 0x100,
  GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN: 0x200,
  GPIO_V2_LINE_FLAG_BIAS_DISABLED: 0x400,
} as const;

/** Other codes, by the kernel's names. */
export const GPIO_CODES = {
  GPIO_MAX_NAME_SIZE: 32,
  GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES: 2,
  GPIO_V2_LINE_EVENT_RISING_EDGE: 1,
  GPIO_V2_LINE_EVENT_FALLING_EDGE: 2,
} as const;

/** Where the fields of the kernel's structures lie, in bytes, as `structure.field`; and the sizes of the structures. */
export const GPIO_LAYOUT = {
  "gpiochip_info.lines": 64,
  "gpio_v2_line_info.name": 0,
  "gpio_v2_line_info.offset": 64,
  "gpio_v2_line_request.offsets": 0,
  "gpio_v2_line_request.consumer": 256,
  "gpio_v2_line_request.config": 288,
  "gpio_v2_line_request.num_lines": 560,
  "gpio_v2_line_request.event_buffer_size": 564,
  "gpio_v2_line_request.fd": 588,
  "gpio_v2_line_config.flags": 0,
  "gpio_v2_line_config.num_attrs": 8,
  "gpio_v2_line_config.attrs": 32,
  "gpio_v2_line_config.attrs[0].attr.values": 40,
  "gpio_v2_line_config.attrs[0].mask": 48,
  "gpio_v2_line_values.bits": 0,
  "gpio_v2_line_values.mask": 8,
  "gpio_v2_line_event.id": 8,
} as const;

/** Sizes of the kernel's structures, in bytes. */
export const GPIO_SIZES = {
  gpiochip_info: 68,
  gpio_v2_line_info: 256,
  gpio_v2_line_config: 272,
  gpio_v2_line_request: 592,
  gpio_v2_line_values: 16,
  gpio_v2_line_event: 48,
} as const;

/** Edges that the kernel keeps for a line until they are read; the oldest are dropped beyond that. */
const EVENT_BUFFER = 256;
/** Edges that are read in one call. */
const EVENTS_AT_ONCE = 16;

/** A level of a line. */
type Level = 0 | 1;

/** Writes a `struct gpio_v2_line_config` for one line. */
function writeConfig(view: DataView, at: number, flags: number, value: Level): void {
  view.setUint32(at, flags, true);
  view.setUint32(at + GPIO_LAYOUT["gpio_v2_line_config.num_attrs"], 1, true);
  const attribute = at + GPIO_LAYOUT["gpio_v2_line_config.attrs"];
  view.setUint32(attribute, GPIO_CODES.GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES, true);
  view.setUint32(at + GPIO_LAYOUT["gpio_v2_line_config.attrs[0].attr.values"], value, true);
  view.setUint32(at + GPIO_LAYOUT["gpio_v2_line_config.attrs[0].mask"], 1, true);
}

/** A `struct gpio_v2_line_config` for one line; the value counts for an output only. */
export function lineConfig(flags: number, value: Level): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(GPIO_SIZES.gpio_v2_line_config));
  // The kernel refuses output values for what is not explicitly an output.
  if ((flags & GPIO_LINE_FLAGS.GPIO_V2_LINE_FLAG_OUTPUT) !== 0) writeConfig(view, 0, flags, value);
  else view.setUint32(0, flags, true);
  return new Uint8Array(view.buffer);
}

/** A `struct gpio_v2_line_request` for one line of a chip. @param consumer Who uses it, ASCII; cut to 31 characters */
export function lineRequest(
  offset: number,
  flags: number,
  value: Level,
  consumer: string,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(GPIO_SIZES.gpio_v2_line_request);
  const view = new DataView(bytes.buffer);
  const name = new TextEncoder().encode(consumer.slice(0, GPIO_CODES.GPIO_MAX_NAME_SIZE - 1));
  view.setUint32(GPIO_LAYOUT["gpio_v2_line_request.offsets"], offset, true);
  bytes.set(name, GPIO_LAYOUT["gpio_v2_line_request.consumer"]);
  bytes.set(lineConfig(flags, value), GPIO_LAYOUT["gpio_v2_line_request.config"]);
  view.setUint32(GPIO_LAYOUT["gpio_v2_line_request.num_lines"], 1, true);
  view.setUint32(GPIO_LAYOUT["gpio_v2_line_request.event_buffer_size"], EVENT_BUFFER, true);
  return bytes;
}

/** The level after each edge, of as many `struct gpio_v2_line_event` as there are whole; unknown ones are left out. */
export function levelsOf(bytes: Uint8Array<ArrayBuffer>): Level[] {
  const { gpio_v2_line_event: size } = GPIO_SIZES;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const levels: Level[] = [];
  for (let at = 0; at + size <= bytes.length; at += size) {
    const id = view.getUint32(at + GPIO_LAYOUT["gpio_v2_line_event.id"], true);
    if (id === GPIO_CODES.GPIO_V2_LINE_EVENT_RISING_EDGE) levels.push(1);
    if (id === GPIO_CODES.GPIO_V2_LINE_EVENT_FALLING_EDGE) levels.push(0);
  }
  return levels;
}

/** A line of a chip that this process uses, until it is closed. */
export class GpioLine extends Fd {
  readonly #events = new Uint8Array(EVENTS_AT_ONCE * GPIO_SIZES.gpio_v2_line_event);

  /** @param title What it is called in errors: "line 3 of /dev/gpiochip0" */
  constructor(number: number, readonly title: string) {
    super(number);
  }

  /** Changes its flags; the value is what an output drives from then on. @throws {OsError} */
  configure(flags: number, value: Level): void {
    const { GPIO_V2_LINE_SET_CONFIG_IOCTL } = GPIO_REQUESTS;
    const result = ioctl(this.number, GPIO_V2_LINE_SET_CONFIG_IOCTL, lineConfig(flags, value));
    unwrap(result, `configure ${this.title}`);
  }

  /** The level that is sensed. @throws {OsError} */
  get(): Level {
    const values = lineValues(0);
    const { GPIO_V2_LINE_GET_VALUES_IOCTL } = GPIO_REQUESTS;
    unwrap(ioctl(this.number, GPIO_V2_LINE_GET_VALUES_IOCTL, values), `read ${this.title}`);
    return (values[0]! & 1) as Level;
  }

  /** Sets the level of an output. @throws {OsError} */
  set(value: Level): void {
    const { GPIO_V2_LINE_SET_VALUES_IOCTL } = GPIO_REQUESTS;
    const result = ioctl(this.number, GPIO_V2_LINE_SET_VALUES_IOCTL, lineValues(value));
    unwrap(result, `set ${this.title}`);
  }

  /** Reads some of its edges, none when there are none now. @returns the level after each @throws {OsError} */
  takeEdges(): Level[] {
    const read = readFd(this.number, this.#events, 0, this.#events.length);
    if (read === WOULD_BLOCK) return [];
    unwrap(read, `read the edges of ${this.title}`);
    return levelsOf(this.#events.subarray(0, read));
  }
}

/** A `struct gpio_v2_line_values` of one line. */
function lineValues(value: Level): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(GPIO_SIZES.gpio_v2_line_values);
  bytes[GPIO_LAYOUT["gpio_v2_line_values.bits"]] = value;
  bytes[GPIO_LAYOUT["gpio_v2_line_values.mask"]] = 1;
  return bytes;
}

/** An open chip. */
export class GpioChip extends Fd {
  constructor(number: number, readonly path: string) {
    super(number);
  }

  /** Opens a chip, such as /dev/gpiochip0. @throws {OsError} ENOTTY for what is no chip */
  static openChip(path: string): GpioChip {
    const chip = new GpioChip(Fd.open(path, O_RDONLY | O_NONBLOCK).release(), path);
    try {
      chip.lineCount();
      return chip;
    } catch (error) {
      chip.close();
      throw error;
    }
  }

  /** How many lines it has. @throws {OsError} */
  lineCount(): number {
    const info = new Uint8Array(GPIO_SIZES.gpiochip_info);
    const { GPIO_GET_CHIPINFO_IOCTL } = GPIO_REQUESTS;
    unwrap(ioctl(this.number, GPIO_GET_CHIPINFO_IOCTL, info), `use ${this.path} as a GPIO chip`);
    return new DataView(info.buffer).getUint32(GPIO_LAYOUT["gpiochip_info.lines"], true);
  }

  /** The name of a line, empty if it has none. @throws {OsError} */
  lineName(offset: number): string {
    const info = new Uint8Array(GPIO_SIZES.gpio_v2_line_info);
    new DataView(info.buffer).setUint32(GPIO_LAYOUT["gpio_v2_line_info.offset"], offset, true);
    const result = ioctl(this.number, GPIO_REQUESTS.GPIO_V2_GET_LINEINFO_IOCTL, info);
    unwrap(result, `find the name of line ${offset} of ${this.path}`);
    const name = info.subarray(0, GPIO_CODES.GPIO_MAX_NAME_SIZE);
    return new TextDecoder("latin1").decode(name).split("\0", 1)[0]!;
  }

  /**
   * Uses a line: from now on nobody else can.
   *
   * @param flags Of {@linkcode GPIO_LINE_FLAGS}; 0 leaves the line as it is
   * @throws {OsError} EBUSY when somebody else uses it, EPERM for a chip that may not be written to …
   */
  use(offset: number, flags: number, value: Level): GpioLine {
    const title = `line ${offset} of ${this.path}`;
    const request = lineRequest(offset, flags, value, "viola");
    unwrap(ioctl(this.number, GPIO_REQUESTS.GPIO_V2_GET_LINE_IOCTL, request), `use ${title}`);
    const at = GPIO_LAYOUT["gpio_v2_line_request.fd"];
    const line = new GpioLine(new DataView(request.buffer).getInt32(at, true), title);
    setNonblocking(line);
    return line;
  }
}

/** asm-generic; a path may be a FIFO, which would wait for its other end. */
const O_NONBLOCK = 0o4000;
