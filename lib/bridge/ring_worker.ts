// SPDX-License-Identifier: Apache-2.0
/**
 * The ring Worker of a lane.
 *
 * @module
 */
import { placeThread, serveBlocking } from "../../ffi/mod.ts";
import type { RingContract } from "./lane_messages.ts";
import { RingLane } from "./ring_lane.ts";

serveBlocking<RingContract>((options, report) => {
  placeThread(options);
  const lane = new RingLane(report);
  return {
    epoll: lane.epoll,
    handlers: {
      add: (device) => lane.add(device),
      remove: (id) => lane.remove(id),
      attach: (activation) => lane.attach(activation),
      detach: (id) => lane.detach(id),
      prepare: (id) => lane.prepare(id),
      go: (id) => lane.go(id),
      isDue: (id, queue) => lane.isDue(id, queue),
      configInterrupt: (id) => lane.configInterrupt(id),
    },
    turn: (n) => lane.turn(n),
    close: () => lane.close(),
  };
});
