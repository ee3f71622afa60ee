// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import * as features from "../../lib/virtio/features.ts";
import { runC } from "./run_c.ts";

const { bit, describeFeatures, hasFeature } = features;

Deno.test("bit() and hasFeature() reach all 64", () => {
  assertEquals(bit(0), 1n);
  assertEquals(bit(32), 0x1_0000_0000n);
  assertEquals(bit(63), 0x8000_0000_0000_0000n);
  for (let n = 0; n < 64; n++) {
    assert(hasFeature(bit(n), n));
    assert(!hasFeature(~bit(n), n));
  }
});

Deno.test("describeFeatures() names the common bits, the class's, and counts the others", () => {
  const cases: [bigint, features.FeatureNames | undefined, string][] = [
    [0n, undefined, "none"],
    [0x1_0000_0000n, undefined, "VIRTIO_F_VERSION_1"],
    [
      0x1_7000_0000n,
      undefined,
      "VIRTIO_F_RING_INDIRECT_DESC, VIRTIO_F_RING_EVENT_IDX, VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1",
    ],
    [bit(0) | bit(63), undefined, "bit 0, bit 63"],
    [bit(0), { 0: "VIRTIO_SND_F_CTLS" }, "VIRTIO_SND_F_CTLS"],
  ];
  for (const [bits, names, expected] of cases) {
    assertEquals(describeFeatures(bits, names), expected);
  }
});

Deno.test("every feature bit is the one in the kernel's headers", async () => {
  const names = {
    VIRTIO_F_NOTIFY_ON_EMPTY: "VIRTIO_F_NOTIFY_ON_EMPTY",
    VIRTIO_F_ANY_LAYOUT: "VIRTIO_F_ANY_LAYOUT",
    VIRTIO_F_RING_INDIRECT_DESC: "VIRTIO_RING_F_INDIRECT_DESC",
    VIRTIO_F_RING_EVENT_IDX: "VIRTIO_RING_F_EVENT_IDX",
    VIRTIO_F_VERSION_1: "VIRTIO_F_VERSION_1",
    VIRTIO_F_ACCESS_PLATFORM: "VIRTIO_F_ACCESS_PLATFORM",
    VIRTIO_F_RING_PACKED: "VIRTIO_F_RING_PACKED",
    VIRTIO_F_IN_ORDER: "VIRTIO_F_IN_ORDER",
    VIRTIO_F_ORDER_PLATFORM: "VIRTIO_F_ORDER_PLATFORM",
    VIRTIO_F_SR_IOV: "VIRTIO_F_SR_IOV",
    VIRTIO_F_RING_RESET: "VIRTIO_F_RING_RESET",
    VHOST_F_LOG_ALL: "VHOST_F_LOG_ALL",
  } as const;
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/virtio_config.h>
    #include <linux/virtio_ring.h>
    #include <linux/vhost.h>
    int main(void) { ${
    Object.entries(names).map(([ours, theirs]) => `printf("${ours} %d\\n", ${theirs});`).join("\n")
  } return 0; }`);
  const expected = Object.keys(names).map((name) =>
    `${name} ${features[name as keyof typeof names]}\n`
  );
  assertEquals(printed, expected.join(""));
});
