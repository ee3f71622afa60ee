// SPDX-License-Identifier: Apache-2.0
/**
 * Listening TCP sockets. All calls return at once (non-blocking).
 *
 * @module
 */
import { osError, unwrap, WOULD_BLOCK } from "./errno.ts";
import { Fd } from "./fd.ts";
import { UnixSocket } from "./socket.ts";
import { shim } from "./symbols.ts";

const AF_INET = 2;
const AF_INET6 = 10;

/** Options of a TCP socket, setsockopt(2): level and number. */
export const TCP_OPTIONS = {
  SO_REUSEADDR: [1, 2],
  SO_KEEPALIVE: [1, 9],
  TCP_NODELAY: [6, 1],
  TCP_KEEPIDLE: [6, 4],
  TCP_KEEPINTVL: [6, 5],
  TCP_KEEPCNT: [6, 6],
} as const;

/** A peer that does not answer for about a minute is gone: seconds until it is asked, between two questions, questions. */
const KEEPALIVE = { TCP_KEEPIDLE: 30, TCP_KEEPINTVL: 10, TCP_KEEPCNT: 3 } as const;

/** Clients that may wait to be accepted. */
const BACKLOG = 4;

/** An address as the kernel has it: `struct sockaddr_in` or `sockaddr_in6`. */
interface Address {
  readonly family: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A socket that listens at an address of this machine. */
export class TcpListener extends Fd {
  /** The address that it listens at, with its port. */
  place = "";

  /**
   * Listens.
   *
   * @param host An IPv4 address, or an IPv6 address without brackets
   * @param port 0: the kernel chooses
   * @throws {OsError} EADDRINUSE; EADDRNOTAVAIL: this machine does not have the address; EINVAL: it is none …
   */
  static listen(host: string, port: number): TcpListener {
    const shown = host.includes(":") ? `[${host}]` : host;
    const doing = `listen on ${shown}:${port}`;
    const { family, bytes } = addressOf(host, port, doing);
    using made = new DisposableStack();
    const listener = made.use(new TcpListener(unwrap(shim.viola_tcp_socket(family), doing)));
    setOption(listener.number, "SO_REUSEADDR", 1, doing);
    unwrap(shim.viola_bind(listener.number, bytes, bytes.length), doing);
    unwrap(shim.viola_listen(listener.number, BACKLOG), doing);
    unwrap(shim.viola_socket_name(listener.number, bytes, bytes.length), doing);
    listener.place = `${shown}:${new DataView(bytes.buffer).getUint16(2)}`;
    made.move();
    return listener;
  }

  /** Accepts a pending connection; null when there is none. @throws {OsError} */
  accept(): UnixSocket | null {
    const result = shim.viola_unix_accept(this.number);
    if (result === WOULD_BLOCK) return null;
    const doing = `accept on ${this.place}`;
    using made = new DisposableStack();
    const socket = made.use(new UnixSocket(unwrap(result, doing), `a client of ${this.place}`));
    setOption(socket.number, "TCP_NODELAY", 1, doing);
    setOption(socket.number, "SO_KEEPALIVE", 1, doing);
    for (const [name, value] of Object.entries(KEEPALIVE)) {
      setOption(socket.number, name as keyof typeof KEEPALIVE, value, doing);
    }
    made.move();
    return socket;
  }
}

function setOption(
  number: number,
  name: keyof typeof TCP_OPTIONS,
  value: number,
  doing: string,
): void {
  const [level, option] = TCP_OPTIONS[name];
  unwrap(shim.viola_set_option(number, level, option, value), `${doing}: set ${name}`);
}

/** @throws {OsError} EINVAL for what is no address */
function addressOf(host: string, port: number, doing: string): Address {
  const family = host.includes(":") ? AF_INET6 : AF_INET;
  const numbers = family === AF_INET6 ? bytesOfIpv6(host) : bytesOfIpv4(host);
  if (numbers === null) throw osError(doing, "EINVAL");
  const bytes = new Uint8Array(family === AF_INET6 ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true); // in the byte order of the host; the port in that of the network
  view.setUint16(2, port);
  bytes.set(numbers, family === AF_INET6 ? 8 : 4);
  return { family, bytes };
}

/** @returns null for what is no address */
function bytesOfIpv4(host: string): number[] | null {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(host)) return null;
  const numbers = host.split(".").map(Number);
  return numbers.every((n) => n < 256) ? numbers : null;
}

/** @returns null for what is no address */
function bytesOfIpv6(host: string): number[] | null {
  const halves = host.split("::");
  if (!/^[\da-f:]*$/i.test(host) || halves.length > 2) return null;
  const [head = [], tail = []] = halves.map((half) => half === "" ? [] : half.split(":"));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<string>(missing).fill("0"), ...tail];
  if (!groups.every((group) => /^[\da-f]{1,4}$/i.test(group))) return null;
  return groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff]);
}
