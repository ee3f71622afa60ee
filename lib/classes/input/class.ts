// SPDX-License-Identifier: Apache-2.0
/**
 * The input device (virtio 1.2, §5.8), as data.
 *
 * No replay: a back-end tells of keys and axes as they change, and LEDs are the hardware's own.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { DeviceRole } from "../../device/role.ts";
import type { DriverRole } from "../../guest/role.ts";
import type { DeviceClass, RoleUrl } from "../../virtio/device_class.ts";
import type { InputDeviceContract, InputSpec } from "./device.ts";
import type { InputDriverContract } from "./driver.ts";
import { INPUT_CONFIG_SIZE } from "./wire.ts";

/**
 * The modules with the class's code.
 *
 * @internal
 */
export interface InputRoles {
  readonly device: RoleUrl<DeviceRole<InputDeviceContract>>;
  readonly cli: RoleUrl<CliRole<InputSpec>>;
  readonly driver: RoleUrl<DriverRole<InputDriverContract>>;
}

/** Keys, axes and LEDs. */
export const input: DeviceClass<InputRoles> = {
  id: 18,
  name: "input",
  summary: "an input device",
  dropInNames: ["vhuinput"],
  queues: () => [
    { name: "event", kind: "event", size: 64 },
    { name: "status", kind: "request", size: 64 },
  ],
  config: { min: INPUT_CONFIG_SIZE, max: INPUT_CONFIG_SIZE, access: "forwarded", required: true },
  featureNames: {},
  masked: 0n,
  roles: {
    device: asset("lib/classes/input/device.ts"),
    cli: asset("lib/classes/input/cli.ts"),
    driver: asset("lib/classes/input/driver.ts"),
  },
};
