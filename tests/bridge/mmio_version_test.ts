// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { chooseVersion } from "../../lib/bridge/mmio_version.ts";
import { rng, sound } from "../../lib/classes/mod.ts";
import { VhostUserError } from "../../lib/vhost_user/mod.ts";

const VERSION_1 = 1n << 32n;

Deno.test("the version is the one that was asked for, or the newest that the back-end can have", () => {
  const of = (mmioVersion: 1 | 2 | "auto", features: bigint): number =>
    chooseVersion({ mmioVersion, name: "rng0", deviceClass: rng }, features);
  assertEquals([of("auto", VERSION_1), of(1, VERSION_1), of(2, VERSION_1)], [2, 1, 2]);
  assertEquals([of("auto", 0n), of(1, 0n)], [1, 1]);
});

Deno.test("a back-end without VERSION_1 is unfit where the driver would fail, and why is said", () => {
  const cases = [[rng, 2, "virtio-mmio version 2 needs (use --mmio-version 1)"]] as const;
  const always = ([1, 2, "auto"] as const).map((version) =>
    [sound, version, "the driver of a sound device needs"] as const
  );
  for (const [deviceClass, mmioVersion, text] of [...cases, ...always]) {
    const choose = () => chooseVersion({ mmioVersion, name: "card0", deviceClass }, 1n);
    const lacks = "Cannot use the back-end of card0: it does not offer VIRTIO_F_VERSION_1, which ";
    assertEquals(assertThrows(choose, VhostUserError, lacks + text).fault, "unfit");
  }
});
