// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import * as features from "../../lib/virtio/features.ts";

const { bit, describeFeatures, hasFeature } = features;

Deno.test("bit() and hasFeature() work for all 64 bits", () => {
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
