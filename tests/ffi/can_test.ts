// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { bindAside } from "../../ffi/aside.ts";
import {
  CanSocket,
  closesPending,
  EventFd,
  OsError,
  takeEvent,
  UnixSocket,
  WOULD_BLOCK,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { until } from "../support/process.ts";

Deno.test("an interface that is not there is refused, by a kernel with CAN and by one without", () =>
  withoutLeaks(async () => {
    // Without CAN, without its raw sockets, or with both.
    const codes = ["EAFNOSUPPORT", "EPROTONOSUPPORT", "ENODEV"];
    for (const name of ["viola-none", "", "a-name-of-16-byte"]) {
      for (const use of [() => CanSocket.onInterface(name), () => CanSocket.hasFd(name)]) {
        const { code } = assertThrows(use, OsError);
        assert(codes.includes(code), code);
      }
    }
    await until(() => closesPending() === 0, "the closes");
  }));

Deno.test("a frame is one message, and none is awaited", () =>
  withoutLeaks(async () => {
    const path = `@viola-test-${crypto.randomUUID()}`; // the calls are those of any socket of messages
    using theirs = new CanSocket(UnixSocket.datagramAt(path).release());
    using ours = new CanSocket(UnixSocket.datagram(path).release());
    const frame = new Uint8Array(72);
    assertEquals(theirs.receive(frame), WOULD_BLOCK);
    assertEquals(ours.send(Uint8Array.of(1, 2, 3)), 3);
    assertEquals(ours.send(Uint8Array.of(4)), 1);
    assertEquals([theirs.receive(frame), ...frame.subarray(0, 4)], [3, 1, 2, 3, 0]);
    assertEquals([theirs.receive(frame), ...frame.subarray(0, 4)], [1, 4, 2, 3, 0]);
    assertEquals([theirs.receive(frame), theirs.flags, theirs.overflows], [WOULD_BLOCK, 0, 0]);
    const taken = [];
    for (let i = 0; i < 5000 && taken.at(-1) !== WOULD_BLOCK; i++) taken.push(ours.send(frame));
    assertEquals(taken.at(-1), WOULD_BLOCK, "a queue that is full is said so");
    theirs.close();
    assertEquals([theirs.closed, closesPending()], [true, 1], "closed aside");
    await until(() => closesPending() === 0, "the close");
    assertEquals(ours.send(frame), -111); // ECONNREFUSED
    ours.close();
    await until(() => closesPending() === 0, "the other close");
  }));

Deno.test("a socket is bound in another thread, and what came of it is told", () =>
  withoutLeaks(async () => {
    using done = EventFd.create();
    const [other, end] = UnixSocket.pair();
    using _end = end;
    bindAside(other.release(), { to: 1, errors: 0x40, done: done.duplicate().release() });
    let count = 0;
    await until(() => (count = takeEvent(done.number)) > 0, "the end of it");
    assertEquals(count, 1 + 95, "EOPNOTSUPP: it is no CAN socket");
    await until(() => closesPending() === 0, "the close");
  }));
