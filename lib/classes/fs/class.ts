// SPDX-License-Identifier: Apache-2.0
/**
 * The file system device (virtio 1.2, §5.11), as data.
 *
 * No replay: the driver's node ids and file handles mean nothing to a new back-end, and could not be made to. virtiofsd
 * answers each of them with an error until the file system is mounted again. Repeating FUSE_INIT would be worse: the new
 * back-end would give the old ids to other files.
 *
 * @module
 */
import { bit } from "../../virtio/features.ts";
import type { BackEndProfile, DeviceClass, QueueClass, Roles } from "../../virtio/device_class.ts";
import { F_NOTIFICATION, FS_CONFIG_SIZE, REQUEST_QUEUES_AT } from "./wire.ts";

const SIZE = 128;
/** More than a back-end can have. */
const MAX_REQUEST_QUEUES = 256;

function queuesOf({ config }: BackEndProfile): readonly QueueClass[] {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const wanted = view.getUint32(REQUEST_QUEUES_AT, true);
  const count = Math.min(Math.max(wanted, 1), MAX_REQUEST_QUEUES);
  return [
    { name: "hiprio", kind: "request", size: SIZE },
    ...Array.from({ length: count }, (_, i) => {
      return { name: `request ${i}`, kind: "request", size: SIZE } as const;
    }),
  ];
}

/** A directory of the device's side. */
export const fs: DeviceClass<Roles> = {
  id: 26,
  name: "fs",
  summary: "a shared file system",
  dropInNames: [],
  queues: queuesOf,
  config: { min: FS_CONFIG_SIZE, max: FS_CONFIG_SIZE, access: "cached", required: true },
  featureNames: { [F_NOTIFICATION]: "VIRTIO_FS_F_NOTIFICATION" },
  masked: bit(F_NOTIFICATION), // it moves the request queues, whether or not the driver accepts it
  roles: {},
};
