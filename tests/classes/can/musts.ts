// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of CAN controllers and their drivers.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** Draft of virtio 1.4, "CAN Device". */
export const MUSTS: readonly Must[] = [
  {
    section: "Device Initialization",
    of: "driver",
    what: "fills the rx queue with buffers that a frame fits into",
    by: { test: "a buffer that is too small for a frame comes back empty, and is reported" },
  },
  {
    section: "CAN Message Transmission",
    of: "device",
    what: "rejects kinds of frames that were not negotiated, and does not send them",
    by: { test: "kinds of frames that were not negotiated are neither sent nor received" },
  },
  {
    section: "CAN Message Transmission",
    of: "device",
    what: "rejects frames with unknown flags, and with identifiers or lengths out of range",
    by: { test: "malformed frames are refused" },
  },
  {
    section: "CAN Message Transmission",
    of: "device",
    what: "rejects frames while the controller is stopped",
    by: { test: "a controller sends only while it is started" },
  },
  {
    section: "CAN Message Transmission",
    of: "device",
    what: "with LATE_TX_ACK returns a request only when it was sent",
    by: {
      test:
        "with LATE_TX_ACK a frame is answered when it was sent, without it when it was accepted",
    },
  },
];
