// SPDX-License-Identifier: Apache-2.0
// What the AGL driver's kernel half does when it is called for WAKEUP: the access is done, and who waits for it is woken.
import { Epoll, EPOLLET, EPOLLIN, Fd, Mapping, pageSize, signalEvent } from "../../../ffi/mod.ts";
import { OWNER_KEY, serveBlocking, viewMemory } from "../../../ffi/mod.ts";
import { SharedPage } from "../../../lib/loopback/page.ts";

/** Descriptor numbers: the shared page, the bell that WAKEUP rings, the one that the asking side waits at. */
export interface KernelWires {
  page: number;
  wakeup: number;
  answer: number;
}

/** It is asked for nothing. */
export interface KernelContract {
  init: KernelWires;
  calls: Record<never, never>;
  event: never;
}

serveBlocking<KernelContract>(({ page: number, wakeup, answer }) => {
  const fd = new Fd(number);
  const mapping = Mapping.create(fd, pageSize());
  fd.release();
  const page = new SharedPage(viewMemory(mapping));
  const epoll = Epoll.create();
  epoll.add(wakeup, EPOLLIN | EPOLLET, 1);
  return {
    epoll,
    handlers: {},
    turn(n: number) {
      for (let i = 0; i < n; i++) {
        if (epoll.found[2 * i] === OWNER_KEY) continue;
        page.finish();
        signalEvent(answer);
      }
    },
    close() {
      epoll.close();
      mapping.close();
    },
  };
});
