// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO device (virtio 1.2, §5.18), as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { CommandRole } from "../../device/command_role.ts";
import type { DeviceRole } from "../../device/role.ts";
import type { DriverRole } from "../../guest/role.ts";
import type { DeviceClass, ReplayRole, RoleUrl } from "../../virtio/device_class.ts";
import { bit } from "../../virtio/features.ts";
import type { GpioDriverContract } from "./driver.ts";
import type { GpioDeviceContract, GpioSpec } from "./spec.ts";
import { F_IRQ, GPIO_CONFIG_SIZE } from "./wire.ts";

/**
 * The modules that know the class.
 *
 * @internal
 */
export interface GpioRoles {
  readonly device: RoleUrl<DeviceRole<GpioDeviceContract>>;
  readonly cli: RoleUrl<CliRole<GpioSpec>>;
  readonly command: RoleUrl<CommandRole>;
  readonly driver: RoleUrl<DriverRole<GpioDriverContract>>;
  readonly replay: RoleUrl<ReplayRole>;
}

/** Lines of a GPIO controller. */
export const gpio: DeviceClass<GpioRoles> = {
  id: 41,
  name: "gpio",
  summary: "a GPIO controller",
  dropInNames: ["vhugpio"],
  // One buffer per line that may interrupt: as many as vhost-device-gpio takes.
  queues: ({ features }) => [
    { name: "request", kind: "request", size: 64 },
    ...((features & bit(F_IRQ)) === 0n
      ? []
      : [{ name: "event", kind: "watch", size: 256 } as const]),
  ],
  config: { min: GPIO_CONFIG_SIZE, max: GPIO_CONFIG_SIZE, access: "cached", required: true },
  featureNames: { [F_IRQ]: "VIRTIO_GPIO_F_IRQ" },
  masked: 0n,
  roles: {
    device: asset("lib/classes/gpio/device.ts"),
    cli: asset("lib/classes/gpio/cli.ts"),
    command: asset("lib/classes/gpio/command.ts"),
    driver: asset("lib/classes/gpio/driver.ts"),
    replay: asset("lib/classes/gpio/replay.ts"),
  },
};
