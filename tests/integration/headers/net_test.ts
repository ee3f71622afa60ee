// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { TUN_CODES, TUN_IFREQ_LAYOUT } from "../../../ffi/mod.ts";
import { net } from "../../../lib/classes/net/class.ts";
import * as wire from "../../../lib/classes/net/wire.ts";
import { runC } from "./run_c.ts";

Deno.test("a network card's structures, and codes of tap interfaces, are the compiler's", async () => {
  const features = Object.values(net.featureNames);
  const printed = await runC(`
    #include <linux/if.h>
    #include <linux/if_ether.h>
    #include <linux/if_tun.h>
    #include <linux/virtio_ids.h>
    #include <linux/virtio_net.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <sys/ioctl.h>
    int main(void) {
      printf("%d %zu %zu ", VIRTIO_ID_NET, offsetof(struct virtio_net_config, status), offsetof(struct virtio_net_config, mtu));
      printf("%zu ", offsetof(struct virtio_net_config, max_virtqueue_pairs));
      printf("%zu %zu ", sizeof(struct virtio_net_hdr_v1), sizeof(struct virtio_net_hdr));
      printf("%zu %d %d ", offsetof(struct virtio_net_hdr_v1, num_buffers), VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE);
      printf("%d %d %d ", VIRTIO_NET_S_LINK_UP, ETH_HLEN, ETH_ALEN);
      ${features.map((name) => `printf("%d ", ${name});`).join("\n")}
      ${Object.keys(TUN_CODES).map((name) => `printf("%u ", (unsigned)${name});`).join("\n")}
      printf("%d %zu %zu", IFNAMSIZ, offsetof(struct ifreq, ifr_flags), sizeof(struct ifreq));
    }`);
  assertEquals(printed.trim().split(" ").map(Number), [
    ...[net.id, wire.STATUS_AT, wire.MTU_AT, wire.MAX_PAIRS_AT],
    ...[wire.HEADER_SIZE, wire.LEGACY_HEADER_SIZE],
    ...[wire.NUM_BUFFERS_AT, wire.HDR_F_NEEDS_CSUM, wire.HDR_GSO_NONE],
    ...[wire.S_LINK_UP, wire.ETHERNET_HEADER_SIZE, wire.MAC_BYTES],
    ...Object.keys(net.featureNames).map(Number),
    ...Object.values(TUN_CODES),
    ...Object.values(TUN_IFREQ_LAYOUT),
  ]);
});
