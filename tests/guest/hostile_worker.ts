// SPDX-License-Identifier: Apache-2.0
/** The hostile driver's thread: register accesses block, and what answers them may need the main isolate. */
import { Epoll, serveBlocking } from "../../ffi/mod.ts";
import { SoftGuestPort } from "../../lib/loopback/soft.ts";
import type { HostileContract } from "./hostile.ts";
import { HostileDriver, MESSAGE_LIES, PLACE_LIES, RING_LIES } from "./hostile_driver.ts";

serveBlocking<HostileContract>((wires) => {
  const port = new SoftGuestPort(wires, 4000);
  const driver = new HostileDriver(port);
  const epoll = Epoll.create();
  return {
    epoll,
    handlers: {
      bringUp(indirect, place) {
        if (port.waitStarted(4000) === null) throw new Error("Cannot lie: no device appeared");
        driver.bringUp(indirect, PLACE_LIES[place]?.misplace);
        return { indirect: driver.queues.some((queue) => queue.indirect), status: driver.status };
      },
      tell: (lie, queue) => driver.tell(RING_LIES[lie]!, queue),
      send: (lie) => driver.send(MESSAGE_LIES[lie]!),
      usedIdx: (queue) => driver.usedIdx(queue),
      status: () => driver.status,
      reset: () => driver.reset(),
    },
    turn() {},
    close() {
      epoll.close();
      port.close();
    },
  };
});
