// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of network cards and their drivers. Demands that belong to features which the card does not offer
 * (offloads, merged buffers, several pairs of queues, the control queue) are left out.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** Virtio 1.2, §5.1. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.1.4.1",
    of: "device",
    what: "sets mtu to between 68 and 65535",
    by: { test: "invalid options are refused" },
  },
  {
    section: "5.1.4.1",
    of: "device",
    what: "does not modify mtu once it has been set",
    by: { not: "nothing in the card writes it after it was made" },
  },
  {
    section: "5.1.4.1",
    of: "device",
    what: "does not pass received frames on that are longer than mtu",
    by: { test: "frames that are longer than the MTU, or too short, do not reach the driver" },
  },
  {
    section: "5.1.4.1",
    of: "device",
    what: "forwards frames of up to mtu, and does not fragment them",
    by: { test: "frames are sent as they are, and come back with nothing written" },
  },
  {
    section: "5.1.4.2",
    of: "driver",
    what: "does not write to the config space",
    by: { not: "a device that does not take writes ignores them, for every class alike" },
  },
  {
    section: "5.1.4.2",
    of: "driver",
    what: "takes the card's address as its own",
    by: { not: "the card sends frames of any address, as a bridge behind the driver needs it" },
  },
  {
    section: "5.1.4.2",
    of: "driver",
    what: "supplies buffers that a frame of mtu fits into",
    by: { test: "a buffer that is too small for a frame comes back empty, and the frame is lost" },
  },
  {
    section: "5.1.4.2",
    of: "driver",
    what: "does not transmit frames that are longer than mtu",
    by: { test: "frames that are too short or longer than the MTU are not sent" },
  },
  {
    section: "5.1.6",
    of: "driver",
    what: "puts a header of 12 bytes before each frame; a legacy driver without num_buffers",
    by: { test: "a header has 12 bytes, without VIRTIO_F_VERSION_1 10" },
  },
  {
    section: "5.1.6.2.1",
    of: "driver",
    what: "without offloads sets flags to zero and gso_type to NONE",
    by: {
      test: "frames that ask for offloads are not sent, flags that are unknown are ignored",
    },
  },
  {
    section: "5.1.6.2.1",
    of: "driver",
    what: "sets num_buffers to zero",
    by: { not: "the card does not read it" },
  },
  {
    section: "5.1.6.2.2",
    of: "device",
    what: "ignores flags that it does not know",
    by: {
      test: "frames that ask for offloads are not sent, flags that are unknown are ignored",
    },
  },
  {
    section: "5.1.6.4.1",
    of: "device",
    what:
      "without VIRTIO_NET_F_MRG_RXBUF sets num_buffers to 1, flags to zero and gso_type to NONE",
    by: { test: "a header has 12 bytes, without VIRTIO_F_VERSION_1 10" },
  },
  {
    section: "5.1.6.4.1",
    of: "device",
    what: "uses a single descriptor chain for a frame",
    by: { test: "received frames wait in the link until the driver offers buffers" },
  },
];
