// SPDX-License-Identifier: Apache-2.0
/**
 * A peer whose descriptors take long to close: TCP sockets with bytes that nobody reads, and SO_LINGER for ten minutes.
 * Whoever closes such a socket last waits, until the time is over or the peer ends.
 *
 * @module
 */
import { Process } from "./process.ts";

const SCRIPT = `
import array, socket, struct, sys, time
how, path, message, count = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]), int(sys.argv[4])
reader = socket.create_server(("127.0.0.1", 0))
kept, given = [], []
for _ in range(count):
    sender = socket.create_connection(reader.getsockname())
    kept.append(reader.accept()[0])
    sender.setblocking(False)
    try:
        while True: sender.send(bytes(65536))
    except BlockingIOError: pass
    sender.setblocking(True)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
    given.append(sender)
peer = socket.socket(socket.AF_UNIX)
if how != "listen": peer.connect(path)
else:
    peer.bind(path)
    peer.listen()
    print("listening", flush=True)
    peer = peer.accept()[0]
    peer.recv(4096)
fds = array.array("i", [sender.fileno() for sender in given])
flags = socket.MSG_OOB if how == "out of band" else 0
peer.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)], flags)
for sender in given: sender.detach()
import os
for fd in fds: os.close(fd)
print("sent", flush=True)
time.sleep(600)
`;

/**
 * Starts the peer.
 *
 * @param how It connects to the Unix socket at `path` and sends at once, in band or out of band (one byte), or it listens
 * there and answers the first message with its own
 * @param message What it sends the descriptors with
 * @param count How many descriptors
 */
export function startLingering(
  how: "connect" | "out of band" | "listen",
  path: string,
  message: Uint8Array,
  count = 1,
): Process {
  return Process.start("python3", ["-c", SCRIPT, how, path, message.toHex(), `${count}`]);
}
