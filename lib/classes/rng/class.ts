// SPDX-License-Identifier: Apache-2.0
/**
 * The entropy device (virtio 1.2, §5.4), as data.
 *
 * @module
 */
import type { DeviceClass } from "../../virtio/device_class.ts";

/** Entropy: what the driver offers comes back filled with random bytes. */
export const rng: DeviceClass = {
  id: 4,
  name: "rng",
  dropInNames: ["vhurng"],
  queues: () => [{ name: "request", kind: "request", size: 64 }],
  config: { min: 0, max: 0, access: "cached", required: false },
  featureNames: {},
  masked: 0n,
  roles: {},
};
