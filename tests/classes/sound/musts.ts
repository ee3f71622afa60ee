// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of sound cards and their drivers; nothing of control elements (VIRTIO_SND_F_CTLS, virtio 1.3),
 * which are not offered.
 *
 * @module
 */
import type { Must } from "../musts.ts";

const PADDED = "virtio_snd_${name} is these bytes, padding included, and nothing around them";
const COUNTED = "config and info: what the config space counts, the control queue describes";
const BAD_BUFFERS =
  "malformed buffers are returned at once with BAD_MSG, and the stream keeps running";
const PARAMETERS = "SET_PARAMS with ${JSON.stringify(params)} gets";

/** virtio 1.2, §5.14. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.14.5.1",
    of: "driver",
    what: "fills the event queue with buffers of the size of an event or more",
    by: { test: "a malformed event queue, or one without room, loses only events" },
  },
  {
    section: "5.14.5.1",
    of: "driver",
    what: "puts no buffers into the event queue that the device reads",
    by: { test: "a malformed event queue, or one without room, loses only events" },
  },
  {
    section: "5.14.6.2",
    of: "driver",
    what: "asks for no items beyond those that the config space counts",
    by: { test: "for one item too many" },
  },
  {
    section: "5.14.6.2",
    of: "driver",
    what: "gives room for the response with all its items",
    by: { test: "without room for its items" },
  },
  {
    section: "5.14.6.4.1.1",
    of: "device",
    what: "sets no undefined features of a jack",
    by: { test: COUNTED },
  },
  {
    section: "5.14.6.4.1.1",
    of: "device",
    what: "sets a jack's padding to 0",
    by: { test: PADDED },
  },
  {
    section: "5.14.6.6.2.1",
    of: "device",
    what: "sets no undefined features, formats, rates and directions of a stream",
    by: { test: COUNTED },
  },
  {
    section: "5.14.6.6.2.1",
    of: "device",
    what: "sets a stream's padding to 0",
    by: { test: PADDED },
  },
  {
    section: "5.14.6.6.3.1",
    of: "device",
    what: "has an intermediate buffer of buffer_bytes or more",
    by: { not: "there is none: samples stay in the driver's buffers until their time is over" },
  },
  {
    section: "5.14.6.6.3.2",
    of: "driver",
    what: "chooses buffer_bytes as a multiple of period_bytes",
    by: { not: "the device needs no multiple: it takes buffers of any length up to the whole" },
  },
  {
    section: "5.14.6.6.3.2",
    of: "driver",
    what: "chooses only features, formats, rates and channels that the stream offers",
    by: { test: PARAMETERS },
  },
  {
    section: "5.14.6.6.3.2",
    of: "driver",
    what: "does not choose both kinds of shared memory",
    by: { test: PARAMETERS },
  },
  {
    section: "5.14.6.6.3.2",
    of: "driver",
    what: "sets the padding to 0",
    by: { not: "the device does not look at it, so that a later standard can use it" },
  },
  {
    section: "5.14.6.6.3.2",
    of: "driver",
    what: "uses the tx and rx queues when no shared memory is chosen",
    by: { test: "a message is header, data page by page, status" },
  },
  {
    section: "5.14.6.6.5.1",
    of: "device",
    what: "completes all pending messages at RELEASE",
    by: {
      test: "RELEASE gives back what was not played, in the rings before it is answered itself",
    },
  },
  {
    section: "5.14.6.6.5.1",
    of: "device",
    what: "answers RELEASE only when no messages are pending",
    by: {
      test: "RELEASE gives back what was not played, in the rings before it is answered itself",
    },
  },
  {
    section: "5.14.6.8.1.1",
    of: "device",
    what: "completes a message of playback only when it was played",
    by: {
      test: "playback: each buffer is in the file when it is returned, at the end of its time",
    },
  },
  {
    section: "5.14.6.8.1.2",
    of: "driver",
    what: "puts nothing into the tx queue that the device writes, but for the status",
    by: { not: "what a tx message has room for besides the status is ignored" },
  },
  {
    section: "5.14.6.8.2.1",
    of: "device",
    what: "completes a message of capture only when it is full",
    by: { test: "capture: a file at its rate, then silence" },
  },
  {
    section: "5.14.6.8.2.2",
    of: "driver",
    what: "puts nothing into the rx queue that the device reads, but for the header",
    by: { test: BAD_BUFFERS },
  },
  {
    section: "5.14.6.9.1.1",
    of: "device",
    what: "sets no undefined directions of a channel map",
    by: { test: COUNTED },
  },
  {
    section: "5.14.6.9.1.1",
    of: "device",
    what: "has no channel map of more than 18 channels",
    by: {
      test: "encodeChmapInfo() refuses 19 channels, decodeChmapInfo() reads no more than 18",
    },
  },
];
