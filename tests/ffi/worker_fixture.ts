// SPDX-License-Identifier: Apache-2.0
// A Worker that answers a doorbell with another, reports every tenth ring, adds numbers when called, and fails as it is told.
import {
  Epoll,
  EPOLLET,
  EPOLLIN,
  OWNER_KEY,
  PeerSignal,
  serveBlocking,
  signalEvent,
  takeEvent,
} from "../../ffi/mod.ts";

/** What the fixture is started with. */
export interface FixtureInit {
  ring: number;
  answer: number;
  /** What its set-up throws. */
  fail?: string;
  /** What its turn throws at the first ring. */
  failInTurn?: string;
}

/** What the fixture can be asked. */
export interface FixtureContract {
  init: FixtureInit;
  calls: {
    add(a: number, b: number): number;
    later(value: number): number;
    /** Rings what a peer may have filled. */
    signal(number: number): void;
    fail(text: string): void;
    failLater(text: string): void;
    function(): () => void;
    /** Says that it does, then waits for a blocking eventfd. */
    block(number: number): number;
  };
  event: { rings: number };
}

serveBlocking<FixtureContract>((init, report) => {
  if (init.fail !== undefined) throw new Error(init.fail);
  const epoll = Epoll.create();
  epoll.add(init.ring, EPOLLIN | EPOLLET, 1);
  let rings = 0;
  return {
    epoll,
    handlers: {
      add: (a, b) => a + b,
      later: async (value) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return value;
      },
      signal: (number) => {
        using signal = PeerSignal.create();
        signal.signal(number);
      },
      fail: (text) => {
        throw new Error(text);
      },
      failLater: (text) => Promise.reject(new Error(text)),
      function: () => () => {},
      block: (number) => {
        signalEvent(init.answer);
        return takeEvent(number);
      },
    },
    turn(n) {
      for (let i = 0; i < n; i++) {
        if (epoll.found[2 * i] === OWNER_KEY) continue;
        if (init.failInTurn !== undefined) throw new Error(init.failInTurn);
        if (++rings % 10 === 0) report({ rings });
        signalEvent(init.answer);
      }
    },
    close: () => epoll.close(),
  };
});
