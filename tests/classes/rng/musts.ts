// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of sources of entropy and their drivers.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** virtio 1.2, §5.4. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.4.6.1",
    of: "driver",
    what: "places no buffers in the queue that the device reads",
    by: { test: "rng gives at most a megabyte to one buffer, and nothing to one without room" },
  },
  {
    section: "5.4.6.1",
    of: "driver",
    what: "looks at the length written to learn how many bytes are random",
    by: { test: "a buffer that is not full counts by what is in it" },
  },
  {
    section: "5.4.6.2",
    of: "device",
    what: "writes one byte or more, at most as many as the buffer holds",
    by: {
      test: "rng fills whole buffers of any size and number of pieces, with bytes that differ",
    },
  },
];
