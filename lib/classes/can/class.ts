// SPDX-License-Identifier: Apache-2.0
/**
 * The CAN device (virtio 1.4 draft, "CAN Device"), as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { DeviceRole } from "../../device/role.ts";
import type { DriverRole } from "../../guest/role.ts";
import type { DeviceClass, ReplayRole, RoleUrl } from "../../virtio/device_class.ts";
import type { CanDriverContract } from "./driver.ts";
import type { CanDeviceContract, CanSpec } from "./spec.ts";
import { CAN_CONFIG_SIZE, F_CAN_CLASSIC, F_CAN_FD, F_LATE_TX_ACK, F_RTR_FRAMES } from "./wire.ts";

/**
 * The class's roles.
 *
 * @internal
 */
export interface CanRoles {
  readonly device: RoleUrl<DeviceRole<CanDeviceContract>>;
  readonly cli: RoleUrl<CliRole<CanSpec>>;
  readonly driver: RoleUrl<DriverRole<CanDriverContract>>;
  readonly replay: RoleUrl<ReplayRole>;
}

/** A controller that connects the driver to a CAN bus. */
export const can: DeviceClass<CanRoles> = {
  id: 36,
  name: "can",
  summary: "a CAN controller",
  dropInNames: ["vhucan"],
  queues: () => [
    { name: "tx", kind: "request", size: 64 },
    { name: "rx", kind: "event", size: 64 },
    { name: "control", kind: "request", size: 64 },
  ],
  config: { min: CAN_CONFIG_SIZE, max: CAN_CONFIG_SIZE, access: "cached", required: true },
  featureNames: {
    [F_CAN_CLASSIC]: "VIRTIO_CAN_F_CAN_CLASSIC",
    [F_CAN_FD]: "VIRTIO_CAN_F_CAN_FD",
    [F_RTR_FRAMES]: "VIRTIO_CAN_F_RTR_FRAMES",
    [F_LATE_TX_ACK]: "VIRTIO_CAN_F_LATE_TX_ACK",
  },
  masked: 0n,
  roles: {
    device: asset("lib/classes/can/device.ts"),
    cli: asset("lib/classes/can/cli.ts"),
    driver: asset("lib/classes/can/driver.ts"),
    replay: asset("lib/classes/can/replay.ts"),
  },
};
