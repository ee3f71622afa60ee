// SPDX-License-Identifier: Apache-2.0
/**
 * The input device (virtio 1.2, §5.8), as data.
 *
 * No replay: a back-end tells of keys and axes as they change, and LEDs are the hardware's own.
 *
 * @module
 */
import type { DeviceClass, Roles } from "../../virtio/device_class.ts";
import { INPUT_CONFIG_SIZE } from "./wire.ts";

/** Keys, axes and LEDs. */
export const input: DeviceClass<Roles> = {
  id: 18,
  name: "input",
  summary: "an input device",
  dropInNames: ["vhuinput"],
  queues: () => [
    { name: "event", kind: "event", size: 64 },
    { name: "status", kind: "request", size: 64 },
  ],
  config: { min: INPUT_CONFIG_SIZE, max: INPUT_CONFIG_SIZE, access: "forwarded", required: true },
  featureNames: {},
  masked: 0n,
  roles: {},
};
