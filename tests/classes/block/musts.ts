// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of disks and their drivers; nothing of zones, lifetime and secure erase, which are not offered.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** virtio 1.2, §5.2. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.2.5.1",
    of: "driver",
    what: "does not read writeback before FEATURES_OK",
    by: { not: "reads are answered from memory and change nothing, whenever they come" },
  },
  {
    section: "5.2.5.2",
    of: "device",
    what: "offers FLUSH if it offers CONFIG_WCE",
    by: { test: "features that a disk may offer, and their requirements" },
  },
  {
    section: "5.2.5.2",
    of: "device",
    what: "sets writeback to 0 when CONFIG_WCE is negotiated without FLUSH",
    by: { test: "a driver that can switch the cache but not flush finds it off" },
  },
  {
    section: "5.2.5.2",
    of: "device",
    what: "sets unused0 and unused1 to 0",
    by: { test: "the config space is written and read" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "reads and writes nothing beyond the capacity",
    by: { test: "a read over the end" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "sets sector to 0 in a flush",
    by: { not: "the device does not look at it, as the standard calls the field unused" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "reads and writes multiples of 512 bytes",
    by: { test: "a read of parts of a sector" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "sends whole segments with discard and write zeroes",
    by: { test: "half a range" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "gives room for 20 bytes of an identifier",
    by: { test: "an identifier without room" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "sends no more segments than max_discard_seg and max_write_zeroes_seg",
    by: { test: "too many ranges" },
  },
  {
    section: "5.2.6.1",
    of: "driver",
    what: "does not set unmap in a discard",
    by: { test: "a discard to unmap" },
  },
  {
    section: "5.2.6.2",
    of: "device",
    what: "answers a write to a read-only disk with IOERR, and writes nothing",
    by: { test: "a read-only disk offers no way to change it, and refuses one" },
  },
  {
    section: "5.2.6.2",
    of: "device",
    what: "answers unknown flags of discard and write zeroes with UNSUPP, and unmap of discard",
    by: { test: "an unknown flag" },
  },
  {
    section: "5.2.6.2",
    of: "device",
    what: "reads zeros after write zeroes, with unmap and without",
    by: { test: "ranges are discarded and filled with zeros" },
  },
  {
    section: "5.2.6.2",
    of: "device",
    what: "has stable writes on the medium before it answers: without a cache, or after a flush",
    by: { test: "a driver switches the cache off and on; what it wrote before is committed" },
  },
  {
    section: "5.2.6.2",
    of: "device",
    what: "does not offer LIFETIME for storage without such figures",
    by: { test: "features that a disk may offer, and their requirements" },
  },
  {
    section: "5.2.6.2",
    of: "device",
    what: "refuses requests for zones with UNSUPP",
    by: { test: "an unknown type" },
  },
];
