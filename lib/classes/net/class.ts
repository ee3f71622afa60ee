// SPDX-License-Identifier: Apache-2.0
/**
 * The network device (virtio 1.2, §5.1), as data.
 *
 * No replay: what a driver sets by the control queue is filters and modes that Linux's driver sets again when the card is
 * taken up, and known back-ends have no control queue.
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
  RoleUrl,
} from "../../virtio/device_class.ts";
import type { NetDriverContract } from "./driver.ts";
import type { NetDeviceContract, NetSpec } from "./spec.ts";
import * as wire from "./wire.ts";

/**
 * The class's roles.
 *
 * @internal
 */
export interface NetRoles {
  readonly device: RoleUrl<DeviceRole<NetDeviceContract>>;
  readonly cli: RoleUrl<CliRole<NetSpec>>;
  readonly driver: RoleUrl<DriverRole<NetDriverContract>>;
}

const SIZE = 256;

/** Features of the config space and the control queue, which a back-end without a config space leaves to its front-end. */
const CONFIG_FEATURES = [
  wire.F_CTRL_GUEST_OFFLOADS,
  wire.F_MTU,
  wire.F_MAC,
  wire.F_STATUS,
  wire.F_CTRL_VQ,
  wire.F_CTRL_RX,
  wire.F_CTRL_VLAN,
  wire.F_CTRL_RX_EXTRA,
  wire.F_GUEST_ANNOUNCE,
  wire.F_MQ,
  wire.F_CTRL_MAC_ADDR,
];

/** The control queue is the last. */
function queuesOf({ features, config }: BackEndProfile): readonly QueueClass[] {
  const has = (n: number): boolean => config.length > 0 && (features & bit(n)) !== 0n;
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const pairs = has(wire.F_MQ) ? Math.max(view.getUint16(wire.MAX_PAIRS_AT, true), 1) : 1;
  return [
    ...Array.from({ length: pairs }, (_, i): QueueClass[] => [
      { name: `rx ${i}`, kind: "event", size: SIZE },
      { name: `tx ${i}`, kind: "request", size: SIZE },
    ]).flat(),
    ...(has(wire.F_CTRL_VQ) ? [{ name: "control", kind: "request", size: 64 } as const] : []),
  ];
}

/** A network card. */
export const net: DeviceClass<NetRoles> = {
  id: 1,
  name: "net",
  summary: "a network card",
  dropInNames: [],
  queues: queuesOf,
  queueUnit: 2,
  config: {
    min: wire.NET_CONFIG_SIZE,
    max: wire.NET_CONFIG_SIZE,
    access: "cached",
    required: false,
    features: CONFIG_FEATURES.reduce((bits, n) => bits | bit(n), 0n),
  },
  featureNames: {
    [wire.F_CSUM]: "VIRTIO_NET_F_CSUM",
    [wire.F_GUEST_CSUM]: "VIRTIO_NET_F_GUEST_CSUM",
    [wire.F_CTRL_GUEST_OFFLOADS]: "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS",
    [wire.F_MTU]: "VIRTIO_NET_F_MTU",
    [wire.F_MAC]: "VIRTIO_NET_F_MAC",
    [wire.F_GUEST_TSO4]: "VIRTIO_NET_F_GUEST_TSO4",
    [wire.F_GUEST_TSO6]: "VIRTIO_NET_F_GUEST_TSO6",
    [wire.F_GUEST_ECN]: "VIRTIO_NET_F_GUEST_ECN",
    [wire.F_GUEST_UFO]: "VIRTIO_NET_F_GUEST_UFO",
    [wire.F_HOST_TSO4]: "VIRTIO_NET_F_HOST_TSO4",
    [wire.F_HOST_TSO6]: "VIRTIO_NET_F_HOST_TSO6",
    [wire.F_HOST_ECN]: "VIRTIO_NET_F_HOST_ECN",
    [wire.F_HOST_UFO]: "VIRTIO_NET_F_HOST_UFO",
    [wire.F_MRG_RXBUF]: "VIRTIO_NET_F_MRG_RXBUF",
    [wire.F_STATUS]: "VIRTIO_NET_F_STATUS",
    [wire.F_CTRL_VQ]: "VIRTIO_NET_F_CTRL_VQ",
    [wire.F_CTRL_RX]: "VIRTIO_NET_F_CTRL_RX",
    [wire.F_CTRL_VLAN]: "VIRTIO_NET_F_CTRL_VLAN",
    [wire.F_CTRL_RX_EXTRA]: "VIRTIO_NET_F_CTRL_RX_EXTRA",
    [wire.F_GUEST_ANNOUNCE]: "VIRTIO_NET_F_GUEST_ANNOUNCE",
    [wire.F_MQ]: "VIRTIO_NET_F_MQ",
    [wire.F_CTRL_MAC_ADDR]: "VIRTIO_NET_F_CTRL_MAC_ADDR",
  },
  masked: 0n,
  roles: {
    device: asset("lib/classes/net/device.ts"),
    cli: asset("lib/classes/net/cli.ts"),
    driver: asset("lib/classes/net/driver.ts"),
  },
};
