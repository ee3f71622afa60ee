// SPDX-License-Identifier: Apache-2.0
/**
 * The console device (virtio 1.2, §5.3), as data.
 *
 * @module
 */
import { asset } from "../../../ffi/assets.ts";
import type { CliRole } from "../../device/cli_role.ts";
import type { DeviceRole } from "../../device/role.ts";
import type { DriverRole } from "../../guest/role.ts";
import { bit } from "../../virtio/features.ts";
import type {
  BackEndProfile,
  DeviceClass,
  QueueClass,
  ReplayRole,
  RoleUrl,
} from "../../virtio/device_class.ts";
import type { ConsoleDriverContract } from "./driver.ts";
import type { ConsoleDeviceContract, ConsoleSpec } from "./spec.ts";
import { CONSOLE_CONFIG_SIZE, F_EMERG_WRITE, F_MULTIPORT, F_SIZE, MAX_PORTS_AT } from "./wire.ts";

const SIZE = 64;
/** More than a back-end can have queues for. */
const MOST_PORTS = 128;

/**
 * The modules with the class's code.
 *
 * @internal
 */
export interface ConsoleRoles {
  readonly device: RoleUrl<DeviceRole<ConsoleDeviceContract>>;
  readonly cli: RoleUrl<CliRole<ConsoleSpec>>;
  readonly driver: RoleUrl<DriverRole<ConsoleDriverContract>>;
  readonly replay: RoleUrl<ReplayRole>;
}

/** The receive and the transmit queue of port `i`. What is transmitted may wait for a reader as long as that likes. */
function portQueues(i: number): QueueClass[] {
  return [
    { name: `rx ${i}`, kind: "event", size: SIZE },
    { name: `tx ${i}`, kind: "watch", size: SIZE },
  ];
}

/** The control queues come after those of port 0. */
function queuesOf({ features, config }: BackEndProfile): readonly QueueClass[] {
  if ((features & bit(F_MULTIPORT)) === 0n || config.length === 0) return portQueues(0);
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const ports = Math.min(Math.max(view.getUint32(MAX_PORTS_AT, true), 1), MOST_PORTS);
  return [
    ...portQueues(0),
    { name: "control rx", kind: "event", size: SIZE },
    { name: "control tx", kind: "request", size: SIZE },
    ...Array.from({ length: ports - 1 }, (_, i) => portQueues(i + 1)).flat(),
  ];
}

/** A terminal, or several. */
export const console: DeviceClass<ConsoleRoles> = {
  id: 3,
  name: "console",
  summary: "a console",
  dropInNames: ["vhuconsole"],
  queues: queuesOf,
  config: {
    min: CONSOLE_CONFIG_SIZE,
    max: CONSOLE_CONFIG_SIZE,
    access: "cached",
    required: false,
    features: bit(F_SIZE) | bit(F_MULTIPORT) | bit(F_EMERG_WRITE),
  },
  featureNames: {
    [F_SIZE]: "VIRTIO_CONSOLE_F_SIZE",
    [F_MULTIPORT]: "VIRTIO_CONSOLE_F_MULTIPORT",
    [F_EMERG_WRITE]: "VIRTIO_CONSOLE_F_EMERG_WRITE",
  },
  masked: 0n,
  roles: {
    device: asset("lib/classes/console/device.ts"),
    cli: asset("lib/classes/console/cli.ts"),
    driver: asset("lib/classes/console/driver.ts"),
    replay: asset("lib/classes/console/replay.ts"),
  },
};
