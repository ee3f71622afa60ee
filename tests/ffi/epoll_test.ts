// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Epoll,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  EventFd,
  OsError,
  Reactor,
  signalEvent,
  takeEvent,
  UnixSocket,
  type Watch,
  Watches,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

/** Keys of what is there now, in order. */
function keysOf(epoll: Epoll): number[] {
  const n = epoll.wait(0);
  return Array.from({ length: n }, (_, i) => epoll.found[2 * i]!).sort();
}

Deno.test("Epoll reports keys of 32 bits with their events, and nothing when nothing is there", async () => {
  await withoutLeaks(() => {
    using epoll = Epoll.create();
    using event = EventFd.create();
    epoll.add(event.number, EPOLLIN | EPOLLOUT, 0xffffffff);
    assertEquals(epoll.wait(0), 1);
    assertEquals([...epoll.found.subarray(0, 2)], [0xffffffff, EPOLLOUT]);
    epoll.modify(event.number, EPOLLIN, 7);
    assertEquals(epoll.wait(0), 0);
    signalEvent(event.number);
    assertEquals(keysOf(epoll), [7]);
    epoll.remove(event.number);
    epoll.remove(event.number);
    assertEquals(epoll.wait(0), 0);
  });
});

Deno.test("an eventfd watched by its edge reports every ring, though it is never read", () => {
  using epoll = Epoll.create();
  using event = EventFd.create(1);
  epoll.add(event.number, EPOLLIN | EPOLLET, 1);
  assertEquals(keysOf(epoll), [1]); // rung before it was watched
  assertEquals(keysOf(epoll), []);
  for (let i = 0; i < 3; i++) {
    signalEvent(event.number);
    assertEquals(keysOf(epoll), [1]);
    assertEquals(keysOf(epoll), []);
  }
});

Deno.test("more events than one wait holds come with the next", () => {
  using epoll = Epoll.create();
  using stack = new DisposableStack();
  for (let i = 0; i < 100; i++) {
    epoll.add(stack.use(EventFd.create(1)).number, EPOLLIN | EPOLLET, i);
  }
  const seen = [keysOf(epoll), keysOf(epoll), keysOf(epoll)];
  assertEquals(seen.map(({ length }) => length), [64, 36, 0]);
  assertEquals(new Set(seen.flat()).size, 100);
});

Deno.test("Epoll names what it cannot watch", () => {
  using epoll = Epoll.create();
  using event = EventFd.create();
  epoll.add(event.number, EPOLLIN, 1);
  const cases: [() => void, string][] = [
    [() => epoll.add(event.number, EPOLLIN, 2), "EEXIST"],
    [() => epoll.add(-1, EPOLLIN, 1), "EBADF"],
    [() => epoll.modify(epoll.number, EPOLLIN, 1), "EINVAL"],
  ];
  for (const [watch, code] of cases) {
    assertEquals(assertThrows(watch, OsError, "watch descriptor").code, code);
  }
});

Deno.test("Watches: one that is closed while events are handed out is not called", () => {
  using watches = new Watches();
  using a = EventFd.create(1);
  using b = EventFd.create(1);
  const called: string[] = [];
  const both: Watch[] = [];
  const closeBoth = (name: string) => () => {
    called.push(name);
    for (const watch of both) watch.close();
  };
  both.push(watches.watch(a.number, EPOLLIN, closeBoth("a")));
  both.push(watches.watch(b.number, EPOLLIN, closeBoth("b")));
  const n = watches.epoll.wait(0);
  assertEquals(n, 2);
  watches.dispatch(n);
  assertEquals(called.length, 1);
  assertEquals(watches.epoll.wait(0), 0);
});

Deno.test("Watches: a descriptor number that is used again is watched anew", () => {
  using watches = new Watches();
  const first = EventFd.create(1);
  const { number } = first;
  const watch = watches.watch(number, EPOLLIN, () => {});
  const stale = watches.epoll.wait(0);
  watch.close();
  first.close();
  using second = EventFd.create();
  assertEquals(second.number, number);
  let rings = 0;
  using _watch = watches.watch(number, EPOLLIN | EPOLLET, () => rings++);
  watch.close(); // again: not this one's to end
  watches.dispatch(stale); // an event of the first, found before: not the second's
  assertEquals(rings, 0);
  signalEvent(number);
  watches.dispatch(watches.epoll.wait(0));
  assertEquals(rings, 1);
});

Deno.test("Watches: a watch may be closed after the set", async () => {
  await withoutLeaks(() => {
    using event = EventFd.create();
    const watches = new Watches();
    const watch = watches.watch(event.number, EPOLLIN, () => {});
    watches.close();
    watches.close();
    watch.close();
    assertThrows(() => watches.watch(event.number, EPOLLIN, () => {}), TypeError, "closed");
  });
});

Deno.test("Reactor wakes for many descriptors, also for those watched while it waits", async () => {
  await withoutLeaks(async () => {
    await using reactor = new Reactor();
    using stack = new DisposableStack();
    await new Promise((resolve) => setTimeout(resolve, 1)); // it waits by now
    const heard = Array.from({ length: 40 }, () => {
      const event = stack.use(EventFd.create());
      const { promise, resolve } = Promise.withResolvers<number>();
      stack.use(reactor.watch(event.number, EPOLLIN, () => resolve(takeEvent(event.number))));
      signalEvent(event.number);
      return promise;
    });
    assertEquals(await Promise.all(heard), heard.map(() => 1));
  });
});

Deno.test("Reactor notices at once that the peer has hung up", async () => {
  await withoutLeaks(async () => {
    await using reactor = new Reactor();
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    const { promise, resolve } = Promise.withResolvers<number>();
    using _watch = reactor.watch(ours.number, EPOLLIN | EPOLLRDHUP, resolve);
    theirs.close();
    assert((await promise & EPOLLRDHUP) !== 0);
  });
});

Deno.test("Reactor.close() ends the waiting call, twice as well, and once with watches left", async () => {
  await withoutLeaks(async () => {
    const reactor = new Reactor();
    using event = EventFd.create(1);
    const watch = reactor.watch(event.number, EPOLLIN | EPOLLET, () => {});
    await Promise.all([reactor.close(), reactor.close()]);
    await reactor.close();
    watch.close();
    assertThrows(() => reactor.watch(event.number, EPOLLIN, () => {}), TypeError, "closed");
  });
});
