// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of input devices and their drivers.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** virtio 1.2, §5.8. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.8.5.1",
    of: "driver",
    what: "sets select and subsel, in any order",
    by: {
      test: "input: the config space tells what was selected, in whatever order that is written",
    },
  },
  {
    section: "5.8.5.1",
    of: "driver",
    what: "writes to no other fields than select and subsel",
    by: { test: "input: writes to other fields of the config space change nothing" },
  },
  {
    section: "5.8.5.2",
    of: "device",
    what: "sets size to 0 when it does not have what select and subsel ask for",
    by: {
      test: "input: the config space tells what was selected, and nothing for what there is not",
    },
  },
  {
    section: "5.8.6.1",
    of: "driver",
    what: "makes each buffer of the event queue writable, and at least as large as an event",
    by: { test: "input: buffers that are too small come back empty" },
  },
  {
    section: "5.8.6.1",
    of: "driver",
    what: "makes each buffer of the status queue at least as large as an event",
    by: { test: "input: what the driver sets is told and comes back, whatever it is" },
  },
];
