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
  return new RingLane(report);
});
