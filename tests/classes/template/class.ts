// SPDX-License-Identifier: Apache-2.0
/**
 * The echo device, as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../../lib/device/cli_role.ts";
import type { DeviceRole } from "../../../lib/device/role.ts";
import type { DriverRole } from "../../../lib/guest/role.ts";
import type { DeviceClass, ReplayRole, RoleUrl } from "../../../lib/virtio/device_class.ts";
import type { EchoDeviceContract, EchoSpec } from "./device.ts";
import type { EchoDriverContract } from "./driver.ts";

/** The modules that know the class. */
export interface EchoRoles {
  readonly device: RoleUrl<DeviceRole<EchoDeviceContract>>;
  readonly driver: RoleUrl<DriverRole<EchoDriverContract>>;
  readonly replay: RoleUrl<ReplayRole>;
  readonly cli: RoleUrl<CliRole<EchoSpec>>;
}

/** Echo: what the driver sends comes back. */
export const echo: DeviceClass<EchoRoles> = {
  id: 0x3fff, // No device of the standard's.
  name: "echo",
  summary: "what is sent to it comes back",
  dropInNames: [],
  queues: () => [
    { name: "control", kind: "request", size: 16 },
    { name: "echo", kind: "request", size: 64 },
    { name: "event", kind: "event", size: 8 },
  ],
  config: { min: 4, max: 4, access: "cached", required: true },
  featureNames: {},
  masked: 0n,
  roles: {
    device: asset("lib/classes/echo/device.ts"),
    driver: asset("lib/classes/echo/driver.ts"),
    replay: asset("lib/classes/echo/replay.ts"),
    cli: asset("lib/classes/echo/cli.ts"),
  },
};
