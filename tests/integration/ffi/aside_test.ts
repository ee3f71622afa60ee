// SPDX-License-Identifier: Apache-2.0
// Descriptors whose close waits: a thread that others need does not.
import { assertEquals } from "@std/assert";
import { closesPending, EventFd, UnixListener, UnixSocket } from "../../../ffi/mod.ts";
import { startLingering } from "../../support/lingering.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { type Process, TempFolder, until } from "../../support/process.ts";

/** A connection to a peer that has sent a byte with so many descriptors. */
async function metLingering(
  listener: UnixListener,
  path: string,
  count: number,
): Promise<{ peer: Process; socket: UnixSocket }> {
  const peer = startLingering("connect", path, Uint8Array.of(1), count);
  await peer.until(() => peer.stdout.includes("sent"), "the descriptors");
  return { peer, socket: listener.accept()! };
}

for (const received of [true, false]) {
  Deno.test(`descriptors that linger, ${received ? "" : "never "}received, are closed aside`, async () => {
    await withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      const path = folder.file("socket");
      using listener = UnixListener.listen(path);
      const { peer, socket } = await metLingering(listener, path, 12);
      await using _peer = peer;
      if (received) {
        const { fds } = socket.receive(new Uint8Array(1), 0, 1);
        assertEquals([fds.length, closesPending()], [12, 0]);
        for (const fd of fds) fd.close();
        assertEquals([fds.every((fd) => fd.closed), closesPending()], [true, 12]);
      }
      socket.hangUp();
      socket.hangUp();
      assertEquals(closesPending(), received ? 12 : 1);
      await peer.stop("SIGKILL"); // then nobody is left to wait for
      await until(() => closesPending() === 0, "the closes");
    });
  });
}

Deno.test("descriptors of one peer that linger do not keep another peer's waiting", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const paths = [folder.file("slow"), folder.file("quick")] as const;
    using slow = UnixListener.listen(paths[0]);
    using quick = UnixListener.listen(paths[1]);
    const one = await metLingering(slow, paths[0], 12);
    await using slowPeer = one.peer;
    const other = await metLingering(quick, paths[1], 1);
    await using quickPeer = other.peer;
    for (const { socket } of [one, other]) {
      for (const fd of socket.receive(new Uint8Array(1), 0, 1).fds) fd.close();
    }
    await quickPeer.stop("SIGKILL");
    await until(() => closesPending(`clients of ${paths[1]}`) === 0, "the other peer's close");
    assertEquals(closesPending(`clients of ${paths[0]}`), 12);
    for (const { socket } of [one, other]) socket.hangUp();
    await slowPeer.stop("SIGKILL");
    await until(() => closesPending() === 0, "the closes");
  });
});

Deno.test("descriptors that came out of band are received, not closed by the kernel in this thread", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const path = folder.file("socket");
    using listener = UnixListener.listen(path);
    await using peer = startLingering("out of band", path, Uint8Array.of(1));
    await peer.until(() => peer.stdout.includes("sent"), "the descriptor");
    const socket = listener.accept()!;
    const { length, fds } = socket.receive(new Uint8Array(8), 0, 8);
    assertEquals([length, fds.length], [1, 1]);
    fds[0]!.close();
    socket.hangUp();
    assertEquals(closesPending(`clients of ${path}`), 1);
    await peer.stop("SIGKILL");
    await until(() => closesPending() === 0, "the close");
  });
});

Deno.test("a listener is closed without waiting for what those who were not accepted have sent", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const path = folder.file("socket");
    const listener = UnixListener.listen(path);
    await using peer = startLingering("connect", path, Uint8Array.of(1));
    await peer.until(() => peer.stdout.includes("sent"), "the descriptor");
    listener.close();
    assertEquals([listener.closed, closesPending(`clients of ${path}`)], [true, 1]);
    await peer.stop("SIGKILL");
    await until(() => closesPending() === 0, "the close");
  });
});

Deno.test("too many descriptors are refused, and closed aside as well", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const path = folder.file("socket");
    using listener = UnixListener.listen(path);
    const { peer, socket } = await metLingering(listener, path, 9);
    await using _peer = peer;
    let code = "";
    try {
      socket.receive(new Uint8Array(1), 0, 1, 8);
    } catch (error) {
      code = (error as { code: string }).code;
    }
    assertEquals([code, closesPending()], ["EMSGSIZE", 9]);
    socket.hangUp();
    await peer.stop("SIGKILL");
    await until(() => closesPending() === 0, "the closes");
  });
});

Deno.test("descriptors that close quickly are closed in this thread", async () => {
  await withoutLeaks(() => {
    const [ours, theirs] = UnixSocket.pair();
    using event = EventFd.create();
    theirs.send(Uint8Array.of(1), 0, 1, [event.number]);
    const { fds } = ours.receive(new Uint8Array(1), 0, 1);
    fds[0]!.close();
    ours.hangUp();
    theirs.hangUp();
    assertEquals(closesPending(), 0);
  });
});
