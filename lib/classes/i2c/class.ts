// SPDX-License-Identifier: Apache-2.0
/**
 * The I2C adapter device (virtio 1.2, §5.16), as data.
 *
 * No replay: each group of requests is complete in itself.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { DeviceRole } from "../../device/role.ts";
import type { DriverRole } from "../../guest/role.ts";
import type { DeviceClass, RoleUrl } from "../../virtio/device_class.ts";
import type { I2cDeviceContract } from "./device.ts";
import type { I2cDriverContract } from "./driver.ts";
import type { I2cSpec } from "./spec.ts";
import { F_ZERO_LENGTH_REQUEST } from "./wire.ts";

/**
 * The modules that know the class.
 *
 * @internal
 */
export interface I2cRoles {
  readonly device: RoleUrl<DeviceRole<I2cDeviceContract>>;
  readonly cli: RoleUrl<CliRole<I2cSpec>>;
  readonly driver: RoleUrl<DriverRole<I2cDriverContract>>;
}

/** An adapter that connects the driver to an I2C bus. */
export const i2c: DeviceClass<I2cRoles> = {
  id: 34,
  name: "i2c",
  summary: "an I2C adapter",
  dropInNames: [],
  queues: () => [{ name: "request", kind: "request", size: 64 }],
  config: { min: 0, max: 0, access: "cached", required: false },
  featureNames: { [F_ZERO_LENGTH_REQUEST]: "VIRTIO_I2C_F_ZERO_LENGTH_REQUEST" },
  masked: 0n,
  roles: {
    device: asset("lib/classes/i2c/device.ts"),
    cli: asset("lib/classes/i2c/cli.ts"),
    driver: asset("lib/classes/i2c/driver.ts"),
  },
};
