// SPDX-License-Identifier: Apache-2.0
/**
 * The device classes, each with the options of its embedded device.
 *
 * @module
 */
import { DEVICE_CLASSES } from "../classes/mod.ts";
import { type CliRole, loadCliRole } from "../device/cli_role.ts";
import type { DeviceClass } from "../virtio/device_class.ts";

/** A class, and the options of its embedded device. */
export interface SceneClass {
  readonly deviceClass: DeviceClass;
  readonly cli: CliRole;
}

/** All classes in the list, with their options. */
export function loadSceneClasses(): Promise<SceneClass[]> {
  return Promise.all(
    DEVICE_CLASSES.map(async (deviceClass) => ({
      deviceClass,
      cli: await loadCliRole(deviceClass),
    })),
  );
}
