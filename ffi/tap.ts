// SPDX-License-Identifier: Apache-2.0
/**
 * Tap interfaces of the host (`/dev/net/tun`, `<linux/if_tun.h>`): one Ethernet frame in each read and write. All calls
 * return at once (non-blocking).
 *
 * @module
 */
import { OsError, unwrap } from "./errno.ts";
import { Fd, ioctl, O_RDWR, readFd, setNonblocking, writeFd } from "./fd.ts";

/** Codes of `<linux/if_tun.h>`, by the kernel's names. */
export const TUN_CODES = { TUNSETIFF: 0x400454ca, IFF_TAP: 0x0002, IFF_NO_PI: 0x1000 } as const;
/** Where name and flags stand in `struct ifreq`, and its size. */
export const TUN_IFREQ_LAYOUT = { nameBytes: 16, flags: 16, size: 40 } as const;

/** An open tap interface; it has frames without any header of the kernel's, and no offloads. */
export class TapInterface extends Fd {
  /**
   * Opens a tap interface, which is made if it is not there (that takes CAP_NET_ADMIN, and it is gone when it is closed).
   *
   * @throws {OsError} ENOENT, EACCES of /dev/net/tun; EPERM, EBUSY (another process has it), EINVAL (it is no tap) …
   */
  static openInterface(name: string): TapInterface {
    const { nameBytes, flags, size } = TUN_IFREQ_LAYOUT;
    const bytes = new TextEncoder().encode(name);
    const action = `open tap interface ${name}`;
    if (bytes.length === 0 || bytes.length >= nameBytes) throw new OsError(action, 19); // ENODEV
    using opened = Fd.open("/dev/net/tun", O_RDWR);
    setNonblocking(opened);
    const ifreq = new Uint8Array(size);
    ifreq.set(bytes);
    new DataView(ifreq.buffer).setUint16(flags, TUN_CODES.IFF_TAP | TUN_CODES.IFF_NO_PI, true);
    unwrap(ioctl(opened.number, TUN_CODES.TUNSETIFF, ifreq), action);
    return new TapInterface(opened.release());
  }

  /** Reads a frame to `buffer[at…]`. @returns its bytes, or a negative errno: EAGAIN when there is none now */
  receive(buffer: Uint8Array<ArrayBuffer>, at: number): number {
    return readFd(this.number, buffer, at, buffer.length - at);
  }

  /** Writes the frame in `buffer[at…]`. @returns its bytes, or a negative errno: EAGAIN, EIO (the interface is down) */
  send(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    return writeFd(this.number, buffer, at, length);
  }
}
