// SPDX-License-Identifier: Apache-2.0
/**
 * The I2C adapter device (virtio 1.2, §5.16), as data.
 *
 * No replay: each request is complete in itself.
 *
 * @module
 */
import type { DeviceClass, Roles } from "../../virtio/device_class.ts";
import { F_ZERO_LENGTH_REQUEST } from "./wire.ts";

/** An adapter that connects the driver to an I2C bus. */
export const i2c: DeviceClass<Roles> = {
  id: 34,
  name: "i2c",
  summary: "an I2C adapter",
  dropInNames: [],
  queues: () => [{ name: "request", kind: "request", size: 64 }],
  config: { min: 0, max: 0, access: "cached", required: false },
  featureNames: { [F_ZERO_LENGTH_REQUEST]: "VIRTIO_I2C_F_ZERO_LENGTH_REQUEST" },
  masked: 0n,
  roles: {},
};
