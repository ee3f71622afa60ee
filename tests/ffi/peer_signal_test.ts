// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BlockingWorker,
  createMemory,
  createPipe,
  Epoll,
  EPOLLET,
  EPOLLIN,
  EventFd,
  OsError,
  PeerSignal,
  setNonblocking,
  signalEvent,
  takeEvent,
  writeFd,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import type { FixtureContract } from "./worker_fixture.ts";

/** As many rings as an eventfd takes from those who write. */
const BRIM = new Uint8Array(new BigUint64Array([2n ** 64n - 2n]).buffer);

Deno.test("each ring is counted, and is an edge for who watches", async () => {
  await withoutLeaks(() => {
    using signal = PeerSignal.create();
    using event = EventFd.create();
    using epoll = Epoll.create();
    epoll.add(event.number, EPOLLIN | EPOLLET, 7);
    for (let i = 0; i < 3; i++) {
      signal.signal(event.number);
      assertEquals(epoll.wait(0), 1);
    }
    signalEvent(event.number);
    assertEquals(takeEvent(event.number), 4);
    for (let i = 0; i < 10_000; i++) signal.signal(event.number); // more than a context's completions
    assertEquals(takeEvent(event.number), 10_000);
  });
});

Deno.test("an eventfd that is full, and waits, is rung without waiting, whenever it came to be so", async () => {
  await withoutLeaks(async () => {
    using idle = EventFd.create();
    await using worker = await BlockingWorker.start<FixtureContract>(
      new URL("./worker_fixture.ts", import.meta.url),
      { name: "fixture", init: { ring: idle.number, answer: idle.number } },
    );
    using event = EventFd.create();
    assertEquals(writeFd(event.number, BRIM, 0, 8), 8);
    for (const on of [true, false, true, false]) {
      setNonblocking(event, on);
      await worker.call("signal", event.number);
      await worker.call("signal", event.number);
    }
    assert(takeEvent(event.number) > 0);
    await worker.call("signal", event.number);
    assertEquals(takeEvent(event.number), 1);
  });
});

Deno.test("what is no eventfd is refused by its number", async () => {
  await withoutLeaks(() => {
    using signal = PeerSignal.create();
    using memory = createMemory("viola-test", 4096);
    const { reader, writer } = createPipe();
    for (const number of [memory.number, reader.number, writer.number]) {
      assertThrows(() => signal.signal(number), OsError, `signal eventfd ${number}`);
    }
    assertThrows(() => signal.signal(-1), OsError, "signal eventfd -1");
    reader.close();
    writer.close();
  });
});

Deno.test("nothing of it is left, and it rings no more", async () => {
  await withoutLeaks(() => {
    using event = EventFd.create();
    for (let i = 0; i < 10; i++) {
      const signal = PeerSignal.create();
      signal.close();
      signal.close();
      assertThrows(() => signal.signal(event.number), TypeError, "closed");
    }
    assertEquals(takeEvent(event.number), 0);
  });
});
