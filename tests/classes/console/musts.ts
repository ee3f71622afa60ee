// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of consoles and their drivers.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** virtio 1.2, §5.3. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.3.5.1",
    of: "device",
    what: "accepts a write to emerg_wr, also before it is set up",
    by: { test: "an emergency write is put out without queues" },
  },
  {
    section: "5.3.6.1",
    of: "driver",
    what: "puts no buffers that the device reads into a receive queue",
    by: { test: "buffers of no room for a byte come back, and nothing is lost by them" },
  },
  {
    section: "5.3.6.1",
    of: "driver",
    what: "puts no buffers that the device writes into a transmit queue",
    by: {
      test:
        "a buffer that the device could write to is none of a transmit queue's, and comes back as it was",
    },
  },
  {
    section: "5.3.6.2.1",
    of: "device",
    what:
      "adds no port that is not less than max_nr_ports, and none twice unless the driver says anew that it is ready",
    by: { test: "ports are added, named and opened in answer to the driver" },
  },
  {
    section: "5.3.6.2.1",
    of: "device",
    what: "removes no port that it has not added",
    by: { not: "viola's console never removes a port" },
  },
  {
    section: "5.3.6.2.2",
    of: "driver",
    what: "says DEVICE_READY once F_MULTIPORT is accepted",
    by: { test: "ports are added, named and opened in answer to the driver" },
  },
  {
    section: "5.3.6.2.2",
    of: "driver",
    what: "answers CONSOLE_PORT with PORT_OPEN of value 1",
    by: { test: "every port is told, opened and used, by viola's driver" },
  },
];
