// SPDX-License-Identifier: Apache-2.0
/**
 * The socket device (virtio 1.2, §5.10), as data.
 *
 * @module
 */
import type { DeviceClass, Roles } from "../../virtio/device_class.ts";
import { F_NO_IMPLIED_STREAM, F_SEQPACKET, F_STREAM, VSOCK_CONFIG_SIZE } from "./wire.ts";

/** Sockets between the driver's side and the device's. */
export const vsock: DeviceClass<Roles> = {
  id: 19,
  name: "vsock",
  summary: "a socket device",
  dropInNames: [],
  queues: () => [
    { name: "rx", kind: "event", size: 128 },
    { name: "tx", kind: "request", size: 128 },
    { name: "event", kind: "event", size: 128 },
  ],
  config: { min: VSOCK_CONFIG_SIZE, max: VSOCK_CONFIG_SIZE, access: "cached", required: true },
  featureNames: {
    [F_STREAM]: "VIRTIO_VSOCK_F_STREAM",
    [F_SEQPACKET]: "VIRTIO_VSOCK_F_SEQPACKET",
    [F_NO_IMPLIED_STREAM]: "VIRTIO_VSOCK_F_NO_IMPLIED_STREAM",
  },
  masked: 0n,
  roles: {},
};
