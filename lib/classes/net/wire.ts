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
/** Offset of status. */
export const STATUS_AT = 6;
/** Offset of mtu. */
export const MTU_AT = 10;
/** Bytes of a MAC address. */
export const MAC_BYTES = 6;
/** Bit of status: the link is up. */
export const S_LINK_UP = 1;

/** The least and the most that mtu may be (§5.1.4.1). */
export const MTU_RANGE = [68, 65535] as const;

/** Index of the first receive queue. */
export const VQ_RX = 0;
/** Index of the first transmit queue. */
export const VQ_TX = 1;

/**
 * Bytes of struct virtio_net_hdr: u8 flags, u8 gso_type, le16 hdr_len, le16 gso_size, le16 csum_start, le16 csum_offset, le16
 * num_buffers. Without VIRTIO_F_VERSION_1 and VIRTIO_NET_F_MRG_RXBUF it ends before num_buffers (§5.1.6.1).
 */
export const HEADER_SIZE = 12;
/** Bytes of the header without num_buffers. */
export const LEGACY_HEADER_SIZE = 10;
/** Offset of num_buffers. */
export const NUM_BUFFERS_AT = 10;
/** Flag of a header: the checksum is partial. */
export const HDR_F_NEEDS_CSUM = 1;
/** gso_type: the frame is no larger than one of the link may be. */
export const HDR_GSO_NONE = 0;

/** Bytes of an Ethernet header. */
export const ETHERNET_HEADER_SIZE = 14;
/** Bytes of a VLAN tag, which is part of the link's header. */
const VLAN_TAG_SIZE = 4;
/** EtherTypes of VLAN tags: 802.1Q and 802.1ad. */
const VLAN_TYPES = [0x8100, 0x88a8];

/** The most bytes of a frame at an MTU. */
export function mostFrameBytes(mtu: number): number {
  return mtu + ETHERNET_HEADER_SIZE + VLAN_TAG_SIZE;
}

/** Whether a frame is one that a link of this MTU may carry. @param length Bytes from `at` on */
export function isFrame(bytes: Uint8Array, at: number, length: number, mtu: number): boolean {
  if (length < ETHERNET_HEADER_SIZE) return false;
  const isTagged = VLAN_TYPES.includes(bytes[at + 12]! << 8 | bytes[at + 13]!);
  return length <= mtu + ETHERNET_HEADER_SIZE + (isTagged ? VLAN_TAG_SIZE : 0);
}

/** The address of a text such as "02:00:00:00:00:01"; null for a text that is none. */
export function parseMac(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return null;
  return Uint8Array.from(text.split(":"), (byte) => parseInt(byte, 16));
}

/** The text of a MAC address. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
