// SPDX-License-Identifier: Apache-2.0
/**
 * The SPI controller device (virtio 1.4 draft, "SPI Controller Device"), as data.
 *
 * No replay: each transfer carries its own mode, speed and delays.
 *
 * @module
 */
import type { DeviceClass, Roles } from "../../virtio/device_class.ts";
import { SPI_CONFIG_SIZE } from "./wire.ts";

/** A controller that connects the driver to an SPI bus. */
export const spi: DeviceClass<Roles> = {
  id: 45,
  name: "spi",
  summary: "an SPI controller",
  dropInNames: [],
  queues: () => [{ name: "request", kind: "request", size: 64 }],
  config: { min: SPI_CONFIG_SIZE, max: SPI_CONFIG_SIZE, access: "cached", required: true },
  featureNames: {},
  masked: 0n,
  roles: {},
};
