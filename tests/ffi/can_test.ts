// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { CanSocket, OsError, UnixSocket, WOULD_BLOCK } from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

Deno.test("an interface that is not there is refused, by a kernel with CAN and by one without", () =>
  withoutLeaks(() => {
    // Without CAN, without its raw sockets, or with both.
    const codes = ["EAFNOSUPPORT", "EPROTONOSUPPORT", "ENODEV"];
    for (const name of ["viola-none", "", "a-name-of-16-byte"]) {
      for (const use of [() => CanSocket.onInterface(name), () => CanSocket.hasFd(name)]) {
        const { code } = assertThrows(use, OsError);
        assert(codes.includes(code), code);
      }
    }
  }));

Deno.test("a frame is one message, and none is awaited", () =>
  withoutLeaks(() => {
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
    assertEquals(ours.send(frame), -111); // ECONNREFUSED
  }));
