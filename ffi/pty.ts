// SPDX-License-Identifier: Apache-2.0
/**
 * Pseudoterminals (pty(7)) and the settings of terminals. No call waits for the other side.
 *
 * @module
 */
import { cString, unwrap, WOULD_BLOCK } from "./errno.ts";
import { Fd, O_RDWR, readFd } from "./fd.ts";
import { shim } from "./symbols.ts";

/** `ioctl` requests of terminals, asm-generic. */
export const TERMINAL_REQUESTS = {
  TCGETS: 0x5401,
  TCSETS: 0x5402,
  TIOCGWINSZ: 0x5413,
  TIOCSWINSZ: 0x5414,
  TIOCGPTN: 0x80045430,
  TIOCSPTLCK: 0x40045431,
} as const;

/** Offsets in the kernel's `struct termios`, and its size. */
export const TERMIOS_LAYOUT = {
  c_iflag: 0,
  c_oflag: 4,
  c_cflag: 8,
  c_lflag: 12,
  size: 36,
} as const;

/** Flags of `struct termios` that a raw terminal does not have. */
export const TERMINAL_FLAGS = {
  /** IGNBRK, BRKINT, PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IXON. */
  input: 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000,
  /** OPOST. */
  output: 0o1,
  /** ICANON, ECHO, ECHONL, IEXTEN. */
  local: 0o2 | 0o10 | 0o100 | 0o100000,
  /** ISIG. */
  signals: 0o1,
} as const;

/** `open` flags, asm-generic: the terminal does not become the process's own; calls do not wait. */
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
/** An event of inotify(7): somebody has opened the file. */
const IN_OPEN = 0x20;

/** The size of a terminal, in characters. */
export interface WindowSize {
  readonly cols: number;
  readonly rows: number;
}

/** The size of a terminal; null of what is none, or does not know its size. */
export function windowSize(number: number): WindowSize | null {
  const bytes = new Uint8Array(8);
  if (shim.viola_ioctl(number, TERMINAL_REQUESTS.TIOCGWINSZ, bytes) < 0) return null;
  const view = new DataView(bytes.buffer);
  const [rows, cols] = [view.getUint16(0, true), view.getUint16(2, true)];
  return rows === 0 || cols === 0 ? null : { cols, rows };
}

/**
 * Has a terminal pass bytes as they are: without lines, echo, and conversions of input.
 *
 * @param keepSignals ^C still interrupts, and line ends are still shown as such: for a terminal that others use too
 * @returns its settings before, for {@linkcode setTerminal}; null when it is no terminal
 */
export function makeRaw(number: number, keepSignals = false): Uint8Array<ArrayBuffer> | null {
  const bytes = new Uint8Array(TERMIOS_LAYOUT.size);
  if (shim.viola_ioctl(number, TERMINAL_REQUESTS.TCGETS, bytes) < 0) return null;
  const before = bytes.slice();
  const view = new DataView(bytes.buffer);
  const clear = (at: number, flags: number): void =>
    view.setUint32(at, view.getUint32(at, true) & ~flags, true);
  const { input, output, local, signals } = TERMINAL_FLAGS;
  clear(TERMIOS_LAYOUT.c_iflag, input);
  clear(TERMIOS_LAYOUT.c_lflag, keepSignals ? local : local | signals);
  if (!keepSignals) clear(TERMIOS_LAYOUT.c_oflag, output);
  shim.viola_ioctl(number, TERMINAL_REQUESTS.TCSETS, bytes);
  return before;
}

/** Gives a terminal the settings that it had. */
export function setTerminal(number: number, settings: Uint8Array<ArrayBuffer>): void {
  shim.viola_ioctl(number, TERMINAL_REQUESTS.TCSETS, settings);
}

/** Of a file's mode: what kind it is, and a plain file. */
const [S_IFMT, S_IFREG] = [0o170000, 0o100000];

/**
 * Opens one of this process's standard streams anew, non-blocking: others that share the original are not affected. Of a file
 * it is a second descriptor: opened anew it would be written from its beginning, over what others wrote.
 *
 * @param number 0 or 1
 * @throws {OsError} ENXIO when it is a socket …
 */
export function reopenStream(number: 0 | 1): Fd {
  const mode = unwrap(shim.viola_file_mode(number), `use standard stream ${number}`);
  if ((mode & S_IFMT) === S_IFREG) {
    return new Fd(unwrap(shim.viola_dup(number), `duplicate standard stream ${number}`));
  }
  return Fd.open(`/proc/self/fd/${number}`, (number === 0 ? 0 : 1) | O_NOCTTY | O_NONBLOCK);
}

/** The controlling side of a pseudoterminal, whose other side is a file that programs open. */
export class Pty extends Fd {
  /** The file's path: `/dev/pts/N`. */
  path = "";

  /**
   * Makes a pair. The other side is raw, and as if a program had used it and left: reads of this side return EIO until one
   * opens it.
   *
   * @throws {OsError} ENOENT, ENOSPC …: there is none to be had
   */
  static create(): Pty {
    const doing = "make a pseudoterminal";
    using made = new DisposableStack();
    const pty = made.use(new Pty(Fd.open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK).release()));
    const word = new Uint8Array(4);
    unwrap(shim.viola_ioctl(pty.number, TERMINAL_REQUESTS.TIOCSPTLCK, word), doing);
    unwrap(shim.viola_ioctl(pty.number, TERMINAL_REQUESTS.TIOCGPTN, word), doing);
    pty.path = `/dev/pts/${new DataView(word.buffer).getUint32(0, true)}`;
    makeRaw(pty.number);
    Fd.open(pty.path, O_RDWR | O_NOCTTY | O_NONBLOCK).close();
    made.move();
    return pty;
  }
}

const events = new Uint8Array(4096);

/** Notices that a file is opened (inotify(7)). */
export class OpenWatch extends Fd {
  /** @throws {OsError} */
  static on(path: string): OpenWatch {
    const doing = `watch ${path}`;
    using made = new DisposableStack();
    const watch = made.use(new OpenWatch(unwrap(shim.viola_inotify(), doing)));
    unwrap(shim.viola_inotify_watch(watch.number, cString(path), IN_OPEN), doing);
    made.move();
    return watch;
  }

  /** Whether the file was opened since the last call. */
  take(): boolean {
    let isOpened = false;
    for (;;) {
      const result = readFd(this.number, events, 0, events.length);
      if (result === WOULD_BLOCK || result <= 0) return isOpened;
      isOpened = true;
    }
  }
}
