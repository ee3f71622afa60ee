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
    section: "5.3.2",
    of: "device",
    what: "has the queues of further ports, and of control, only with F_MULTIPORT",
    by: { test: "a device of a console alone has no control queues, and its port is open" },
  },
  {
    section: "5.3.4.1",
    of: "device",
    what: "accepts a write to emerg_wr whatever the state of its queues",
    by: { test: "an emergency write is put out without queues" },
  },
  {
    section: "5.3.5",
    of: "device",
    what: "announces its ports when the driver says that it is ready",
    by: { test: "ports are added, named and opened in answer to the driver" },
  },
  {
    section: "5.3.6.1",
    of: "driver",
    what: "puts no buffers that the device reads into a receive queue",
    by: { test: "buffers of no room for a byte come back, and nothing is lost by them" },
  },
  {
    section: "5.3.6.2",
    of: "driver",
    what: "sends control messages of ports that there are",
    by: { test: "control messages that make no sense are ignored" },
  },
  {
    section: "5.3.6.2.1",
    of: "device",
    what: "does not say that a port is a console before the driver has set it up",
    by: { test: "ports are added, named and opened in answer to the driver" },
  },
  {
    section: "5.3.6.2.2",
    of: "driver",
    what: "answers PORT_ADD with PORT_READY, and CONSOLE_PORT with PORT_OPEN",
    by: { test: "every port is told, opened and used, by viola's driver" },
  },
];
