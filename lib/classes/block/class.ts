// SPDX-License-Identifier: Apache-2.0
/**
 * The block device (virtio 1.2 §5.2), as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { DeviceRole } from "../../device/role.ts";
import type {
  BackEndProfile,
  DeviceClass,
  QueueClass,
  RoleUrl,
} from "../../virtio/device_class.ts";
import type { DriverRole } from "../../guest/role.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import type { BlockDriverContract } from "./driver.ts";
import type { BlockDeviceContract, BlockSpec } from "./spec.ts";
import {
  BLOCK_CONFIG_SIZE,
  decodeQueueCount,
  F_BLK_SIZE,
  F_CONFIG_WCE,
  F_DISCARD,
  F_FLUSH,
  F_GEOMETRY,
  F_MQ,
  F_RO,
  F_SECURE_ERASE,
  F_SEG_MAX,
  F_SIZE_MAX,
  F_TOPOLOGY,
  F_WRITE_ZEROES,
  F_ZONED,
} from "./wire.ts";

/** The most queues that are used, as in the C program's `-qn`. */
export const MAX_REQUEST_QUEUES = 16;

/** One request queue, or with VIRTIO_BLK_F_MQ as many as the back-end's config space says. */
function queues({ features, queueCount, config }: BackEndProfile): readonly QueueClass[] {
  const isMulti = hasFeature(features, F_MQ) && config.length >= BLOCK_CONFIG_SIZE;
  const stated = isMulti ? decodeQueueCount(new DataView(config.buffer, config.byteOffset)) : 1;
  const length = Math.max(1, Math.min(stated, queueCount, MAX_REQUEST_QUEUES));
  return Array.from({ length }, (_, i) => ({ name: `request ${i}`, kind: "request", size: 128 }));
}

/**
 * The modules with the class's code.
 *
 * @internal
 */
export interface BlockRoles {
  readonly device: RoleUrl<DeviceRole<BlockDeviceContract>>;
  readonly cli: RoleUrl<CliRole<BlockSpec>>;
  readonly driver: RoleUrl<DriverRole<BlockDriverContract>>;
}

/** A disk. */
export const block: DeviceClass<BlockRoles> = {
  id: 2,
  name: "block",
  summary: "a disk",
  dropInNames: ["vhublk"],
  queues,
  config: {
    min: BLOCK_CONFIG_SIZE,
    max: BLOCK_CONFIG_SIZE,
    access: "cached",
    required: true,
  },
  featureNames: {
    [F_SIZE_MAX]: "VIRTIO_BLK_F_SIZE_MAX",
    [F_SEG_MAX]: "VIRTIO_BLK_F_SEG_MAX",
    [F_GEOMETRY]: "VIRTIO_BLK_F_GEOMETRY",
    [F_RO]: "VIRTIO_BLK_F_RO",
    [F_BLK_SIZE]: "VIRTIO_BLK_F_BLK_SIZE",
    [F_FLUSH]: "VIRTIO_BLK_F_FLUSH",
    [F_TOPOLOGY]: "VIRTIO_BLK_F_TOPOLOGY",
    [F_CONFIG_WCE]: "VIRTIO_BLK_F_CONFIG_WCE",
    [F_MQ]: "VIRTIO_BLK_F_MQ",
    [F_DISCARD]: "VIRTIO_BLK_F_DISCARD",
    [F_WRITE_ZEROES]: "VIRTIO_BLK_F_WRITE_ZEROES",
    [F_SECURE_ERASE]: "VIRTIO_BLK_F_SECURE_ERASE",
    [F_ZONED]: "VIRTIO_BLK_F_ZONED",
  },
  // Their fields lie beyond the config space that every back-end gives.
  masked: bit(F_SECURE_ERASE) | bit(F_ZONED),
  roles: {
    device: asset("lib/classes/block/device.ts"),
    cli: asset("lib/classes/block/cli.ts"),
    driver: asset("lib/classes/block/driver.ts"),
  },
};
