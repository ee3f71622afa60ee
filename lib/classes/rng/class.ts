// SPDX-License-Identifier: Apache-2.0
/**
 * The entropy device (virtio 1.2, §5.4), as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { DeviceContract, DeviceRole } from "../../device/role.ts";
import type { DriverRole } from "../../guest/role.ts";
import type { RngDriverContract } from "./driver.ts";
import type { DeviceClass, RoleUrl } from "../../virtio/device_class.ts";

/**
 * The modules with the class's code.
 *
 * @internal
 */
export interface RngRoles {
  readonly device: RoleUrl<DeviceRole<DeviceContract>>;
  readonly driver: RoleUrl<DriverRole<RngDriverContract>>;
}

/** Entropy: the device fills the driver's buffers with random bytes. */
export const rng: DeviceClass<RngRoles> = {
  id: 4,
  name: "rng",
  summary: "a source of entropy",
  dropInNames: ["vhurng"],
  queues: () => [{ name: "request", kind: "request", size: 64 }],
  config: { min: 0, max: 0, access: "cached", required: false },
  featureNames: {},
  masked: 0n,
  roles: {
    device: asset("lib/classes/rng/device.ts"),
    driver: asset("lib/classes/rng/driver.ts"),
  },
};
