// SPDX-License-Identifier: Apache-2.0
/** The hostile driver's thread: register accesses block, and what answers them may need the main isolate. */
import { Epoll, serveBlocking } from "../../ffi/mod.ts";
import { SoftGuestPort } from "../../lib/loopback/soft.ts";
import type { HostileContract } from "./hostile.ts";
import { HostileDriver } from "./hostile_driver.ts";
import { MESSAGE_FAULTS } from "./hostile_messages.ts";
import { PLACEMENT_FAULTS, RING_FAULTS } from "./hostile_rings.ts";

serveBlocking<HostileContract>((wires) => {
  const port = new SoftGuestPort(wires, 4000);
  const driver = new HostileDriver(port);
  const epoll = Epoll.create();
  return {
    epoll,
    handlers: {
      bringUp(indirect, place) {
        if (port.waitStarted(4000) === null) {
          throw new Error("Cannot start the device: none appeared");
        }
        driver.bringUp(indirect, PLACEMENT_FAULTS[place]?.misplace);
        return { indirect: driver.queues.some((queue) => queue.indirect), status: driver.status };
      },
      writeRing: (fault, queue) => driver.writeRing(RING_FAULTS[fault]!, queue),
      writeMessage: (fault) => driver.writeMessage(MESSAGE_FAULTS[fault]!),
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
