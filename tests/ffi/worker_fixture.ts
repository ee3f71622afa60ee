// SPDX-License-Identifier: Apache-2.0
// A Worker that answers a doorbell with another, reports every tenth ring, and adds numbers when called.
import {
  Epoll,
  EPOLLET,
  EPOLLIN,
  OWNER_KEY,
  reportToOwner,
  serveBlocking,
  signalEvent,
} from "../../ffi/mod.ts";

serveBlocking((init: { ring: number; answer: number; fail?: string }) => {
  if (init.fail !== undefined) throw new Error(init.fail);
  const epoll = Epoll.create();
  epoll.add(init.ring, EPOLLIN | EPOLLET, 1);
  let rings = 0;
  return {
    epoll,
    handlers: {
      add: ({ a, b }: { a: number; b: number }) => a + b,
      fail: (text: string) => {
        throw new Error(text);
      },
    },
    turn(n: number) {
      for (let i = 0; i < n; i++) {
        if (epoll.found[2 * i] === OWNER_KEY) continue;
        if (++rings % 10 === 0) reportToOwner({ rings });
        signalEvent(init.answer);
      }
    },
    close: () => epoll.close(),
  };
});
