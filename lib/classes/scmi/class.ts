// SPDX-License-Identifier: Apache-2.0
/**
 * The SCMI device (virtio 1.2, §5.17), as data.
 *
 * No replay: which notifications are enabled is known to the driver's protocols alone, and vhost-device-scmi's sensors
 * are asked again by each reading.
 *
 * @module
 */
import { bit } from "../../virtio/features.ts";
import type { DeviceClass, Roles } from "../../virtio/device_class.ts";
import { F_P2A_CHANNELS, F_SHARED_MEMORY } from "./wire.ts";

/** A platform that answers the system control and management interface. */
export const scmi: DeviceClass<Roles> = {
  id: 32,
  name: "scmi",
  summary: "an SCMI platform",
  dropInNames: [],
  queues: ({ features }) => [
    { name: "command", kind: "request", size: 64 },
    ...((features & bit(F_P2A_CHANNELS)) === 0n
      ? []
      : [{ name: "event", kind: "event", size: 64 } as const]),
  ],
  config: { min: 0, max: 0, access: "cached", required: false },
  featureNames: {
    [F_P2A_CHANNELS]: "VIRTIO_SCMI_F_P2A_CHANNELS",
    [F_SHARED_MEMORY]: "VIRTIO_SCMI_F_SHARED_MEMORY",
  },
  masked: bit(F_SHARED_MEMORY), // viola has no shared memory regions
  roles: {},
};
