// SPDX-License-Identifier: Apache-2.0
/**
 * Raw CAN sockets (SocketCAN): one network interface of the host each. All calls return at once (non-blocking).
 *
 * @module
 */
import { bindAside, closeAside } from "./aside.ts";
import { OsError, unwrap } from "./errno.ts";
import { EventFd, Fd, takeEvent } from "./fd.ts";
import { shim } from "./symbols.ts";

/** Bytes of `struct can_frame`, a classic frame as it is read and written. */
export const CAN_FRAME_SIZE = 16;
/** Bytes of `struct canfd_frame`, an FD frame. */
export const CANFD_FRAME_SIZE = 72;
/** Flag of a message: it is one that this socket sent, and the interface has put on the bus. */
export const MSG_CONFIRM = 0x800;

/** Options of a CAN socket, setsockopt(2): level and number. */
export const CAN_OPTIONS = {
  SO_RXQ_OVFL: [1, 40],
  CAN_RAW_RECV_OWN_MSGS: [101, 4],
  CAN_RAW_FD_FRAMES: [101, 5],
} as const;

/** Requests about a network interface, netdevice(7), by number. */
export const INTERFACE_REQUESTS = { SIOCGIFMTU: 0x8921, SIOCGIFINDEX: 0x8933 } as const;
/** Where the name and the number stand in `struct ifreq`, and its size. */
export const IFREQ_LAYOUT = { nameBytes: 16, value: 16, size: 40 } as const;

/** Errors that tell the receiver that the controller is bus-off, or came back: bits of an error frame's identifier. */
const CAN_ERR_BUSOFF = 0x40;

/** A socket on one interface, which hears of its own frames when they are sent. */
export class CanSocket extends Fd {
  /** Of the message that was received last: its flags, {@linkcode MSG_CONFIRM} among them. */
  flags = 0;
  /** Messages that the socket had no room for, since it was opened. */
  overflows = 0;
  /** Signalled when the socket is bound, or could not be. */
  readonly bound = EventFd.create();
  readonly #out = new Uint32Array(2);

  /**
   * Opens a socket, and has it bound to an interface: {@linkcode bound} tells when. It receives all frames, FD frames too where the interface has them; what it sends itself
   * when that was sent; and error frames of a controller that is bus-off.
   *
   * @throws {OsError} EAFNOSUPPORT: the kernel has no CAN; ENODEV: there is no such interface, or it is not one of CAN; EPERM …
   */
  static onInterface(name: string): CanSocket {
    using opened = new DisposableStack();
    const socket = opened.use(createSocket());
    const to = ask(socket, name, INTERFACE_REQUESTS.SIOCGIFINDEX);
    const { SO_RXQ_OVFL, CAN_RAW_RECV_OWN_MSGS, CAN_RAW_FD_FRAMES } = CAN_OPTIONS;
    setOption(socket, SO_RXQ_OVFL, 1);
    setOption(socket, CAN_RAW_RECV_OWN_MSGS, 1);
    setOption(socket, CAN_RAW_FD_FRAMES, 1);
    const done = opened.use(socket.bound.duplicate());
    const binding = { to, errors: CAN_ERR_BUSOFF, done: done.number };
    bindAside(socket.duplicate().release(), binding);
    done.release();
    opened.move();
    return socket;
  }

  /**
   * Whether an interface is there, and takes FD frames.
   *
   * @throws {OsError} as {@linkcode onInterface}
   */
  static hasFd(name: string): boolean {
    using socket = createSocket();
    return ask(socket, name, INTERFACE_REQUESTS.SIOCGIFMTU) >= CANFD_FRAME_SIZE;
  }

  /** What came of binding it: null while that is not known, 0 when it is bound, else a negative errno. */
  takeBound(): number | null {
    const count = takeEvent(this.bound.number);
    return count === 0 ? null : 1 - count;
  }

  /** Closes it, without waiting for the kernel's lock of its network interfaces. */
  override close(): void {
    this.bound.close();
    if (!this.closed) closeAside(this.release(), "CAN interfaces");
  }

  /**
   * Sends a frame.
   *
   * @param frame A `struct can_frame` or `canfd_frame`, by its length
   * @returns the bytes taken, or a negative errno: EAGAIN and ENOBUFS when there is no room now, ENETDOWN …
   */
  send(frame: Uint8Array<ArrayBuffer>): number {
    return shim.viola_write(this.number, frame, 0, frame.length);
  }

  /**
   * Receives a frame, and notes {@linkcode flags} and {@linkcode overflows}.
   *
   * @param frame Receives it; at least {@linkcode CANFD_FRAME_SIZE} bytes
   * @returns its bytes, or a negative errno: EAGAIN when there is none now, ENETDOWN …
   */
  receive(frame: Uint8Array<ArrayBuffer>): number {
    const out = this.#out;
    const length = shim.viola_receive_message(this.number, frame, frame.length, out);
    if (length < 0) return length;
    this.flags = out[0]!;
    this.overflows = Math.max(this.overflows, out[1]!);
    return length;
  }
}

function createSocket(): CanSocket {
  return new CanSocket(unwrap(shim.viola_can_socket(), "create a CAN socket"));
}

function setOption(socket: Fd, [level, option]: readonly [number, number], value: number): void {
  const result = shim.viola_set_option(socket.number, level, option, value);
  unwrap(result, `set option ${option} of a CAN socket`);
}

/** Asks for a number of an interface. @throws {OsError} ENODEV when there is none of that name */
function ask(socket: Fd, name: string, request: number): number {
  const { nameBytes, value, size } = IFREQ_LAYOUT;
  const action = `use CAN interface ${name}`;
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length >= nameBytes) throw new OsError(action, 19); // ENODEV
  const ifreq = new Uint8Array(size);
  ifreq.set(bytes);
  unwrap(shim.viola_ioctl(socket.number, request, ifreq), action);
  return new DataView(ifreq.buffer).getInt32(value, true);
}
