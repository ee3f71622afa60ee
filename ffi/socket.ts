// SPDX-License-Identifier: Apache-2.0
/**
 * Unix sockets that pass descriptors. All of them are non-blocking.
 *
 * @module
 */
import { closeAside } from "./aside.ts";
import { cString, type OsError, osError, unwrap, WOULD_BLOCK } from "./errno.ts";
import { checkRange, Fd, O_RDONLY, setNonblocking } from "./fd.ts";
import { PeerFd } from "./peer_fd.ts";
import { shim } from "./symbols.ts";

/** The most descriptors that one message carries. */
export const MAX_FDS = 32;

/** Room for as many as the kernel delivers with one message. */
const received = new Int32Array(1 + 253);
const FIONREAD = 0x541b;
const unread = new Int32Array(1);
const unreadBytes = new Uint8Array(unread.buffer);
const none = new Int32Array(0);

/** Result of {@linkcode UnixSocket.receive}. */
export interface Received {
  /** Bytes received; 0 when the other side has closed; −EAGAIN (−11) when there are none now. */
  length: number;
  /** Descriptors received with them, which the caller must close. */
  fds: Fd[];
}

const credentials = new Int32Array(3);

/** A process at the other end of a connection, as it was when the connection was made (unix(7), SO_PEERCRED). */
export interface Peer {
  /** 0 when the process is outside our PID namespace. */
  readonly pid: number;
  readonly uid: number;
}

/** One end of a connection. */
export class UnixSocket extends Fd {
  /** @param peerName The path that it is connected to, or a name for a client of a listener; empty for a pair */
  constructor(number: number, readonly peerName: string = "") {
    super(number);
  }

  /**
   * Connects to the socket at `path`.
   *
   * @throws {OsError} ENOENT, ECONNREFUSED, EACCES, EAGAIN (its queue is full), ENAMETOOLONG (over 107 bytes) …
   */
  static connect(path: string): UnixSocket {
    const socket = unwrap(shim.viola_unix_socket(), "create a Unix socket");
    return new UnixSocket(socket, path).#connect();
  }

  #connect(): this {
    const result = shim.viola_unix_connect(this.number, cString(this.peerName));
    if (result < 0) this.close();
    unwrap(result, `connect to ${this.peerName}`);
    return this;
  }

  /**
   * Connects a datagram socket to the one at `path`; "@…" is an abstract address (unix(7)). Each send is one message.
   *
   * @throws {OsError}
   */
  static datagram(path: string): UnixSocket {
    const socket = unwrap(shim.viola_unix_datagram(), "create a Unix socket");
    return new UnixSocket(socket, path).#connect();
  }

  /**
   * Binds a datagram socket to `path`, which must not exist; "@…" is an abstract address (unix(7)).
   *
   * @throws {OsError} EADDRINUSE …
   */
  static datagramAt(path: string): UnixSocket {
    const socket = new UnixSocket(unwrap(shim.viola_unix_datagram(), "create a Unix socket"));
    const result = shim.viola_unix_bind(socket.number, cString(path));
    if (result < 0) socket.close();
    unwrap(result, `receive at ${path}`);
    return socket;
  }

  /** The process at the other end; for the end that connected, the process that called listen. @throws {OsError} */
  peer(): Peer {
    unwrap(
      shim.viola_unix_peer(this.number, credentials),
      "find the process at the other end of a Unix socket",
    );
    const [pid, uid] = credentials;
    return { pid: pid!, uid: uid! >>> 0 };
  }

  /** Two ends of one connection. @throws {OsError} */
  static pair(): [UnixSocket, UnixSocket] {
    const fds = new Int32Array(2);
    unwrap(shim.viola_unix_pair(fds), "create a socket pair");
    return [new UnixSocket(fds[0]!), new UnixSocket(fds[1]!)];
  }

  /**
   * Sends bytes, and descriptors with the first of them, by one `sendmsg`.
   *
   * @param fds Numbers of open descriptors; they stay the caller's
   * @returns how many bytes were sent; 0 when there is no room now
   * @throws {OsError} EPIPE, ECONNRESET when the other side is gone
   */
  send(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    fds: readonly number[] = [],
  ): number {
    checkRange(buffer, offset, length);
    const numbers = fds.length === 0 ? none : Int32Array.from(fds);
    const result = shim.viola_unix_send(
      this.number,
      buffer,
      offset,
      length,
      numbers,
      numbers.length,
    );
    return result === WOULD_BLOCK ? 0 : unwrap(result, "send on a Unix socket");
  }

  /**
   * Receives up to `length` bytes into `buffer[offset…]`, and up to `maxFds` descriptors.
   *
   * @throws {OsError} EMSGSIZE when there were more descriptors, EMFILE when this process can have no more (then all are
   * closed and the bytes are lost), ECONNRESET …
   */
  receive(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    maxFds = MAX_FDS,
  ): Received {
    checkRange(buffer, offset, length);
    const result = shim.viola_unix_receive(
      this.number,
      buffer,
      offset,
      length,
      received,
      Math.min(maxFds, MAX_FDS),
    );
    if (result === WOULD_BLOCK) return { length: WOULD_BLOCK, fds: [] };
    const numbers = received.subarray(1, 1 + received[0]!);
    const fds = Array.from(numbers, (number) => new PeerFd(number, this.peerName));
    if (result < 0) { for (const fd of fds) fd.close(); }
    return { length: unwrap(result, "receive on a Unix socket"), fds };
  }

  /**
   * Ends the connection for all holders of this end, and closes it; a second call does nothing. Descriptors that were sent
   * but not received are closed with it, in another thread, as that may block.
   */
  hangUp(): void {
    if (this.closed) return;
    const number = this.release();
    shim.viola_shutdown(number); // from here on nothing more is sent to it
    const isEmpty = shim.viola_ioctl(number, FIONREAD, unreadBytes) === 0 && unread[0] === 0;
    if (isEmpty) shim.viola_close(number);
    else closeAside(number, this.peerName);
  }
}

/** A socket that another process sent, or that it may fill until it is closed: closed as a {@linkcode PeerFd}. */
export class PeerSocket extends UnixSocket {
  /** Whether a descriptor that a peer sent is a Unix stream socket: a send to it cannot block. */
  static isOne(fd: Fd): boolean {
    return shim.viola_is_unix_stream(fd.number) === 1;
  }

  override close(): void {
    if (!this.closed) new PeerFd(this.release(), this.peerName).close();
  }
}

/** Only the owner may connect. */
const SOCKET_MODE = 0o600;

/** A listening socket, its file removed when it is closed. */
export class UnixListener extends Fd {
  #path = "";
  /** Name of the peers that connect to it. */
  #clients = "";
  /** Inode of the socket file that this listener made: another process may have replaced it since. */
  #inode: number | null = null;
  /** Another process made the socket, and may use it when this one is gone. */
  #isAdopted = false;

  /**
   * Listens at an address: a path, or `fd:N`, a listening socket that this process was started with.
   *
   * @throws {OsError} as {@linkcode listen} and {@linkcode adopt}
   */
  static at(address: string): UnixListener {
    const [, number] = /^fd:(\d{1,9})$/.exec(address) ?? [];
    return number === undefined ? UnixListener.listen(address) : UnixListener.adopt(Number(number));
  }

  /**
   * Takes a listening socket that this process was started with, such as a service's (sd_listen_fds(3)). The socket stays
   * open in whoever made it.
   *
   * @param number Its descriptor, which is closed: children of this process do not inherit the new one
   * @throws {OsError} EBADF, or EINVAL when it is no Unix stream socket that listens
   */
  static adopt(number: number): UnixListener {
    const doing = `listen on descriptor ${number}`;
    const isStream = unwrap(shim.viola_is_unix_stream(number), doing) === 1;
    if (!isStream || unwrap(shim.viola_is_listening(number), doing) !== 1) {
      throw osError(`${doing}: it is no Unix stream socket that listens`, "EINVAL");
    }
    using original = new Fd(number);
    using copy = original.duplicate();
    setNonblocking(copy);
    const listener = new UnixListener(copy.release());
    listener.#path = `descriptor ${number}`;
    listener.#clients = `clients of descriptor ${number}`;
    listener.#isAdopted = true;
    return listener;
  }

  /**
   * Listens at `path`. A stale socket file, left by a process that was killed, is replaced; the folder is locked
   * meanwhile, so that only one of several processes replaces it.
   *
   * The file has mode 600, whatever the umask, and never any other that would let more users in: bind gives it the
   * socket's own mode, less the umask, so that is set first; what an odd umask took away of it is given back then.
   *
   * @throws {OsError} EADDRINUSE when another process listens there, or the path is something else
   */
  static listen(path: string): UnixListener {
    using _lock = lockFolder(path);
    removeStaleSocket(path);
    const listener = new UnixListener(unwrap(shim.viola_unix_socket(), "create a Unix socket"));
    try {
      unwrap(shim.viola_fchmod(listener.number, SOCKET_MODE), "set a Unix socket's mode");
      unwrap(shim.viola_unix_listen(listener.number, cString(path)), `listen on ${path}`);
      listener.#path = path;
      listener.#clients = `clients of ${path}`;
      listener.#inode = inodeOf(path);
      if ((Deno.lstatSync(path).mode! & 0o777) !== SOCKET_MODE) Deno.chmodSync(path, SOCKET_MODE);
      return listener;
    } catch (error) {
      listener.close();
      throw error;
    }
  }

  /** Accepts a pending connection; null when there is none. @throws {OsError} */
  accept(): UnixSocket | null {
    const result = shim.viola_unix_accept(this.number);
    if (result === WOULD_BLOCK) return null;
    return new UnixSocket(unwrap(result, `accept on ${this.#path}`), this.#clients);
  }

  /**
   * Removes the socket's file, and ends the connections that wait as {@linkcode UnixSocket.hangUp} does; those of an adopted
   * socket wait for its next user.
   */
  override close(): void {
    if (this.closed) return;
    if (this.#isAdopted) return super.close();
    if (this.#inode !== null && inodeOf(this.#path) === this.#inode) Deno.removeSync(this.#path);
    shim.viola_shutdown(this.number); // from here on nobody connects
    try {
      for (let socket; (socket = this.accept()) !== null;) socket.hangUp();
    } catch (error) {
      if ((error as OsError).code !== "EINVAL") closeAside(this.release(), this.#clients); // else none is left
    }
    super.close();
  }
}

/** Inode of the file at a path, null if there is none. */
function inodeOf(path: string): number | null {
  try {
    return Deno.lstatSync(path).ino;
  } catch {
    return null;
  }
}

/** How long to wait for another process to unlock a folder; it needs about a millisecond. */
const LOCK_MS = 1000;
const O_NONBLOCK = 0o4000;

/**
 * Locks the folder of a path, so that of two processes that replace a stale socket, the second does not remove the first's.
 * Null when that is not possible (no permission to read the folder, or another process keeps it locked).
 */
function lockFolder(path: string): Fd | null {
  let folder: Fd;
  try {
    folder = Fd.open(path.slice(0, path.lastIndexOf("/") + 1) || ".", O_RDONLY | O_NONBLOCK);
  } catch {
    return null;
  }
  const word = new Int32Array(new SharedArrayBuffer(4));
  for (const deadline = performance.now() + LOCK_MS; performance.now() < deadline;) {
    if (shim.viola_flock(folder.number) !== WOULD_BLOCK) break;
    Atomics.wait(word, 0, 0, 5);
  }
  return folder;
}

function removeStaleSocket(path: string): void {
  try {
    if (!Deno.lstatSync(path).isSocket) return;
    UnixSocket.connect(path).hangUp();
  } catch (error) {
    if ((error as { code?: string }).code === "ECONNREFUSED") Deno.removeSync(path);
  }
}
