// SPDX-License-Identifier: Apache-2.0
/**
 * Messages to systemd (sd_notify(3)).
 *
 * @module
 */
import { osError, UnixSocket } from "../../../ffi/mod.ts";

/** Deadline for systemd to accept a message, in milliseconds. */
const SEND_MS = 3000;

/**
 * Sends a message.
 *
 * @param path systemd's socket, `$NOTIFY_SOCKET`
 * @param text Assignments, a line each, such as `READY=1`
 * @param fds Descriptors that go with it
 * @throws {OsError} when systemd does not take it in time
 */
export async function notifySystemd(
  path: string,
  text: string,
  fds: readonly number[] = [],
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  using socket = UnixSocket.datagram(path);
  for (const deadline = performance.now() + SEND_MS; performance.now() < deadline;) {
    if (socket.send(bytes, 0, bytes.length, fds) === bytes.length) return;
    // systemd's queue is full, with at least ten messages.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw osError(`send a message to systemd at ${path}`, "EAGAIN");
}
