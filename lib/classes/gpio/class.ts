// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO device (virtio 1.2, §5.16), as data.
 *
 * No replay: the driver sets a line's direction and value by requests that a new back-end would have to repeat as edges on
 * the wires, and its lines are the hardware's own, which keep what was set. Requests for interrupts stay in flight, so a
 * new back-end is offered them again.
 *
 * @module
 */
import { bit } from "../../virtio/features.ts";
import type { DeviceClass, Roles } from "../../virtio/device_class.ts";
import { F_IRQ, GPIO_CONFIG_SIZE } from "./wire.ts";

/** Lines of a GPIO controller. */
export const gpio: DeviceClass<Roles> = {
  id: 41,
  name: "gpio",
  summary: "a GPIO controller",
  dropInNames: ["vhugpio"],
  // One buffer per line that may interrupt: as many as vhost-device-gpio takes.
  queues: ({ features }) => [
    { name: "request", kind: "request", size: 64 },
    ...((features & bit(F_IRQ)) === 0n
      ? []
      : [{ name: "event", kind: "watch", size: 256 } as const]),
  ],
  config: { min: GPIO_CONFIG_SIZE, max: GPIO_CONFIG_SIZE, access: "cached", required: true },
  featureNames: { [F_IRQ]: "VIRTIO_GPIO_F_IRQ" },
  masked: 0n,
  roles: {},
};
