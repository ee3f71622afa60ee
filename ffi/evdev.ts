// SPDX-License-Identifier: Apache-2.0
/**
 * Input devices of the host (`/dev/input/eventN`, `<linux/input.h>`). No call waits.
 *
 * @module
 */
import { unwrap } from "./errno.ts";
import { Fd, ioctl, O_RDWR, readFd, writeFd } from "./fd.ts";

/** Numbers of the ioctls that read something, by the kernel's names; of those that take a code, for code 0. */
export const EVDEV_NUMBERS = {
  EVIOCGID: 0x02,
  EVIOCGNAME: 0x06,
  EVIOCGUNIQ: 0x08,
  EVIOCGPROP: 0x09,
  EVIOCGKEY: 0x18,
  EVIOCGSW: 0x1b,
  EVIOCGBIT: 0x20,
  EVIOCGABS: 0x40,
} as const;

/** EVIOCGRAB: `_IOW('E', 0x90, int)`. */
export const EVIOCGRAB = 0x40044590;

/** `_IOR('E', number, length)`. */
export function evdevRequest(number: number, length: number): number {
  return (2 << 30 | length << 16 | 0x45 << 8 | number) >>> 0;
}

/** asm-generic. */
const O_NONBLOCK = 0o4000;

/** An open node. */
export class EvdevNode extends Fd {
  private constructor(number: number, readonly path: string) {
    super(number);
  }

  /** Opens a node. @throws {OsError} */
  static openNode(path: string): EvdevNode {
    return new EvdevNode(Fd.open(path, O_RDWR | O_NONBLOCK).release(), path);
  }

  /**
   * What one of {@linkcode EVDEV_NUMBERS} tells.
   *
   * @param length Bytes that there is room for
   * @returns as many bytes, zeros behind what was told
   * @throws {OsError} ENOTTY when it is no input device; ENODEV when it is gone; ENOENT for a serial number that there is not
   */
  get(number: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    const result = ioctl(this.number, evdevRequest(number, length), bytes);
    unwrap(result, `use ${this.path} as an input device`);
    return bytes;
  }

  /** Takes the device for itself, until it is closed. @throws {OsError} EBUSY when another has */
  grab(): void {
    // The kernel looks at the argument alone: any but null takes it.
    unwrap(ioctl(this.number, EVIOCGRAB, new Uint8Array(4)), `take ${this.path} for itself`);
  }

  /** Reads whole events, `struct input_event`. @returns bytes, or −errno: EAGAIN when there are none now, ENODEV when it is gone */
  read(bytes: Uint8Array<ArrayBuffer>): number {
    return readFd(this.number, bytes, 0, bytes.length);
  }

  /** Writes whole events. @returns bytes, or −errno */
  write(bytes: Uint8Array<ArrayBuffer>): number {
    return writeFd(this.number, bytes, 0, bytes.length);
  }
}
