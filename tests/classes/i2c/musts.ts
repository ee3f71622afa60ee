// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of I2C adapters and their drivers.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** virtio 1.2, §5.16. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.16.6.3",
    of: "driver",
    what: "accepts VIRTIO_I2C_F_ZERO_LENGTH_REQUEST, and gives up where it is not offered",
    by: { test: "i2c: a driver that does not accept zero-length requests gets nothing done" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "sets addr and flags; reserved flags are zero",
    by: { test: "i2c: requests that break a rule fail, and what comes before them is done" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "sends no buf with a zero-length request",
    by: { test: "i2c: a request by itself is a transfer, of no bytes too" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "does not use what a request that failed has read",
    by: { test: "i2c: chips are written and read, and nobody is not there" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "sets VIRTIO_I2C_FLAGS_M_RD to read, with a buffer that the device writes",
    by: { test: "i2c: requests that break a rule fail, and what comes before them is done" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "does not set VIRTIO_I2C_FLAGS_M_RD to write, with a buffer that the device reads",
    by: { test: "i2c: requests that break a rule fail, and what comes before them is done" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "queues requests in their order",
    by: { test: "i2c: chips are written and read, and nobody is not there" },
  },
  {
    section: "5.16.6.3",
    of: "driver",
    what: "takes all requests of a group after the first that failed for failed",
    by: { test: "i2c: chips are written and read, and nobody is not there" },
  },
  {
    section: "5.16.6.4",
    of: "device",
    what: "offers VIRTIO_I2C_F_ZERO_LENGTH_REQUEST, and rejects a driver without it",
    by: { test: "i2c: a driver that does not accept zero-length requests gets nothing done" },
  },
  {
    section: "5.16.6.4",
    of: "device",
    what: "changes neither addr nor flags, nor the buf of a write",
    by: {
      not: "they lie in the readable part of a chain, which a device of viola's cannot write to",
    },
  },
  {
    section: "5.16.6.4",
    of: "device",
    what: "puts as many bytes as buf has into that of a read",
    by: { test: "i2c: a request by itself is a transfer, of no bytes too" },
  },
  {
    section: "5.16.6.4",
    of: "device",
    what: "processes requests in their order",
    by: { test: "i2c: requests of a group are one transfer" },
  },
  {
    section: "5.16.6.4",
    of: "device",
    what: "sets the status of the first request that failed to VIRTIO_I2C_MSG_ERR",
    by: { test: "i2c: of a group the first request that fails, and all after it, have failed" },
  },
];
