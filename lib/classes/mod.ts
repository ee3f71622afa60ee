// SPDX-License-Identifier: Apache-2.0
/**
 * The list of device classes. Help texts, tables and the tests that every class must pass are made from it.
 *
 * @module
 */
import type { DeviceClass } from "../virtio/device_class.ts";
import { block } from "./block/class.ts";
import { can } from "./can/class.ts";
import { console } from "./console/class.ts";
import { fs } from "./fs/class.ts";
import { gpio } from "./gpio/class.ts";
import { i2c } from "./i2c/class.ts";
import { input } from "./input/class.ts";
import { net } from "./net/class.ts";
import { rng } from "./rng/class.ts";
import { scmi } from "./scmi/class.ts";
import { sound } from "./sound/class.ts";
import { spi } from "./spi/class.ts";
import { vsock } from "./vsock/class.ts";

export { block, can, console, fs, gpio, i2c, input, net, rng, scmi, sound, spi, vsock };

/** The device classes that viola serves. */
export const DEVICE_CLASSES: readonly DeviceClass[] = [
  sound,
  rng,
  can,
  block,
  gpio,
  console,
  input,
  i2c,
  vsock,
  fs,
  scmi,
  spi,
  net,
];

/** The class with this virtio device id. */
export function deviceClassById(id: number): DeviceClass | undefined {
  return DEVICE_CLASSES.find((one) => one.id === id);
}

/** The class of this name. */
export function deviceClassByName(name: string): DeviceClass | undefined {
  return DEVICE_CLASSES.find((one) => one.name === name);
}

/** The class with this name in the `-d` of AGL's C program. */
export function deviceClassByDropInName(name: string): DeviceClass | undefined {
  return DEVICE_CLASSES.find((one) => one.dropInNames.includes(name));
}
