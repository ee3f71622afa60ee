// SPDX-License-Identifier: Apache-2.0
/**
 * Which version of the virtio-mmio registers a device has.
 *
 * @module
 */
import type { DeviceClass } from "../virtio/device_class.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../virtio/features.ts";
import { VhostUserError } from "../vhost_user/mod.ts";
import type { DeviceSetup } from "./device_setup.ts";

/** What the choice depends on. */
export interface VersionChoice extends Pick<DeviceSetup, "mmioVersion" | "name"> {
  readonly deviceClass: Pick<DeviceClass, "name" | "needsVersion1">;
}

/**
 * The version of the first back-end's device, for all its life.
 *
 * @param features What the back-end offers
 * @throws {VhostUserError} "unfit" when it lacks VIRTIO_F_VERSION_1 and the driver would fail for that: with version 2, or
 * because of its class
 */
export function chooseVersion(choice: VersionChoice, features: bigint): 1 | 2 {
  const { mmioVersion, name, deviceClass } = choice;
  if ((features & bit(VIRTIO_F_VERSION_1)) !== 0n) return mmioVersion === "auto" ? 2 : mmioVersion;
  const lacks = `Cannot use the back-end of ${name}: it does not offer VIRTIO_F_VERSION_1, which`;
  if (deviceClass.needsVersion1 === true) {
    throw new VhostUserError("unfit", `${lacks} the driver of a ${deviceClass.name} device needs`);
  }
  if (mmioVersion !== 2) return 1;
  throw new VhostUserError("unfit", `${lacks} virtio-mmio version 2 needs (use --mmio-version 1)`);
}
