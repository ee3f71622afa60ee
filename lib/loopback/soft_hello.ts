// SPDX-License-Identifier: Apache-2.0
/**
 * What a soft device's node sends to the adapter that opens it: one message, and descriptors. Both are checked before any
 * is used.
 *
 * @module
 */
import {
  cannotShrink,
  type Fd,
  filePageSize,
  OsError,
  osError,
  pageSize,
  readSystemLink,
  type UnixSocket,
  WOULD_BLOCK,
} from "../../ffi/mod.ts";

/** The guest address of a soft device's memory, as on an arm64 machine. */
export const GUEST_BASE = 0x4000_0000;
/** How an open goes: the node's hello is one message, 24 bytes: u32 magic, u32 errno (0: welcome), f64 base, f64 size. */
export const HELLO_MAGIC = 0x414c4956;
export const HELLO_BYTES = 24;
export const EBUSY = 16;

/** The descriptors of an open node, as /proc names them: the connection, page and memory, three eventfds. */
const KINDS = [
  "socket:",
  "/memfd:viola-page",
  "/memfd:viola-memory",
  "anon_inode:[eventfd]",
  "anon_inode:[eventfd]",
  "anon_inode:[eventfd]",
];
const KEPT = KINDS.length;

/**
 * Checks the descriptors of a node before any is used: their kinds, and that the mapped files are sealed against shrinking.
 *
 * @param what The attempt, as it continues "Cannot …"
 * @throws {OsError} EPROTO
 */
export function checkDescriptors(what: string, fds: readonly Fd[]): void {
  if (fds.length !== KEPT) {
    throw osError(`${what} with ${fds.length} descriptors instead of ${KEPT}`, "EPROTO");
  }
  for (const [i, fd] of fds.entries()) {
    const kind = readSystemLink(`/proc/self/fd/${fd.number}`);
    if (!kind.startsWith(KINDS[i]!)) {
      const expected = `${KINDS[i]}… as number ${i + 1}`;
      throw osError(`${what} with ${kind}, expected ${expected}`, "EPROTO");
    }
    if (kind.startsWith("/memfd:")) checkMemory(what, kind, fd);
  }
  if (fds[1]!.size() >= pageSize()) return;
  throw osError(`${what} with a page of ${fds[1]!.size()} bytes, expected ${pageSize()}`, "EPROTO");
}

/** Checks that no access to a mapping of the file can end this process with SIGBUS. @throws {OsError} EPROTO */
function checkMemory(what: string, kind: string, fd: Fd): void {
  if (!cannotShrink(fd)) {
    throw osError(`${what}: ${kind} is not sealed against shrinking (F_SEAL_SHRINK)`, "EPROTO");
  }
  // A huge page that the node takes back (fallocate(2), FALLOC_FL_PUNCH_HOLE) may not be there when it is needed again.
  const page = filePageSize(fd);
  if (page === pageSize()) return;
  throw osError(`${what}: ${kind} has pages of ${page} bytes, expected ${pageSize()}`, "EPROTO");
}

/**
 * Receives and checks a node's message.
 *
 * @param fds Receives the descriptors, behind the socket; the caller closes them, after an error too
 * @throws {OsError} EPROTO, EBUSY, or what the node answered
 */
export function receiveHello(socket: UnixSocket, name: string, fds: Fd[]): DataView {
  const bytes = new Uint8Array(HELLO_BYTES);
  const length = receiveInto(socket, name, bytes, fds);
  const hello = new DataView(bytes.buffer);
  if (length === WOULD_BLOCK) throw osError(`open ${name} (it sends no reply)`, "EPROTO");
  if (length !== HELLO_BYTES || hello.getUint32(0, true) !== HELLO_MAGIC) {
    throw osError(`open ${name} (it is not a soft loopback device)`, "EPROTO");
  }
  const errno = hello.getUint32(4, true);
  if (errno === EBUSY) throw new OsError(`open ${name} (another adapter has it open)`, EBUSY);
  if (errno !== 0) throw new OsError(`open ${name}`, errno);
  checkDescriptors(`open ${name}`, fds);
  const [base, size] = [hello.getFloat64(8, true), hello.getFloat64(16, true)];
  const actual = fds[2]!.size();
  if (base === GUEST_BASE && size === actual && size > 0) return hello;
  const text = `${size} bytes of memory at ${base}, expected ${actual} at ${GUEST_BASE}`;
  throw osError(`open ${name} (${text})`, "EPROTO");
}

/** Receives without waiting. @returns the number of bytes @throws {OsError} that names the device */
function receiveInto(
  socket: UnixSocket,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  fds: Fd[],
): number {
  try {
    const received = socket.receive(bytes, 0, bytes.length);
    fds.push(...received.fds);
    return received.length;
  } catch (error) {
    throw new OsError(`open ${name} (its first message cannot be read)`, (error as OsError).errno);
  }
}
