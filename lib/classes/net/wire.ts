// SPDX-License-Identifier: Apache-2.0
/**
 * Codes of the network device (virtio 1.2, §5.1).
 *
 * @module
 */

/** Feature bit: the device takes packets with partial checksums. */
export const F_CSUM = 0;
/** Feature bit: the driver takes packets with partial checksums. */
export const F_GUEST_CSUM = 1;
/** Feature bit: the driver may change what it takes. */
export const F_CTRL_GUEST_OFFLOADS = 2;
/** Feature bit: mtu is valid. */
export const F_MTU = 3;
/** Feature bit: mac is valid. */
export const F_MAC = 5;
/** Feature bit: the driver takes TSOv4. */
export const F_GUEST_TSO4 = 7;
/** Feature bit: the driver takes TSOv6. */
export const F_GUEST_TSO6 = 8;
/** Feature bit: the driver takes TSO with ECN. */
export const F_GUEST_ECN = 9;
/** Feature bit: the driver takes UFO. */
export const F_GUEST_UFO = 10;
/** Feature bit: the device takes TSOv4. */
export const F_HOST_TSO4 = 11;
/** Feature bit: the device takes TSOv6. */
export const F_HOST_TSO6 = 12;
/** Feature bit: the device takes TSO with ECN. */
export const F_HOST_ECN = 13;
/** Feature bit: the device takes UFO. */
export const F_HOST_UFO = 14;
/** Feature bit: a packet may fill several receive buffers. */
export const F_MRG_RXBUF = 15;
/** Feature bit: status is valid. */
export const F_STATUS = 16;
/** Feature bit: there is a control queue. */
export const F_CTRL_VQ = 17;
/** Feature bit: receive modes, by the control queue. */
export const F_CTRL_RX = 18;
/** Feature bit: VLAN filters, by the control queue. */
export const F_CTRL_VLAN = 19;
/** Feature bit: more receive modes, by the control queue. */
export const F_CTRL_RX_EXTRA = 20;
/** Feature bit: the driver can announce itself. */
export const F_GUEST_ANNOUNCE = 21;
/** Feature bit: max_virtqueue_pairs is valid, and there may be several pairs. */
export const F_MQ = 22;
/** Feature bit: the MAC address can be set, by the control queue. */
export const F_CTRL_MAC_ADDR = 23;

/** The first fields of struct virtio_net_config: 6 bytes mac, u16 status, u16 max_virtqueue_pairs, u16 mtu. */
export const NET_CONFIG_SIZE = 12;
/** Offset of max_virtqueue_pairs. */
export const MAX_PAIRS_AT = 8;
