// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import * as gpio from "../../../lib/classes/gpio/wire.ts";
import { runC } from "./run_c.ts";

const STRUCTURES = [
  ["virtio_gpio_config", gpio.GPIO_CONFIG_SIZE],
  ["virtio_gpio_request", gpio.REQUEST_SIZE],
  ["virtio_gpio_response", gpio.RESPONSE_SIZE],
  ["virtio_gpio_irq_request", gpio.IRQ_REQUEST_SIZE],
  ["virtio_gpio_irq_response", gpio.IRQ_RESPONSE_SIZE],
] as const;

/** Where a field of a request is found to lie, by writing it alone. */
function offsetOf(field: keyof gpio.GpioRequest): number {
  return gpio.encodeRequest({ type: 0, gpio: 0, value: 0, [field]: 1 }).indexOf(1);
}

const OFFSETS = [
  ["virtio_gpio_request", "type", offsetOf("type")],
  ["virtio_gpio_request", "gpio", offsetOf("gpio")],
  ["virtio_gpio_request", "value", offsetOf("value")],
  ["virtio_gpio_response", "status", 0],
  ["virtio_gpio_response", "value", 1],
  ["virtio_gpio_response_get_names", "value", 1],
  ["virtio_gpio_config", "ngpio", gpio.encodeConfig(1, 0).indexOf(1)],
  ["virtio_gpio_config", "gpio_names_size", gpio.encodeConfig(0, 1).indexOf(1)],
] as const;

Deno.test("sizes, offsets and codes are those of <linux/virtio_gpio.h>", async () => {
  // Each export that has the kernel's name without its prefix.
  const names = Object.entries(gpio).filter(([name, value]) =>
    typeof value === "number" && /^(F|MSG|STATUS|DIRECTION|IRQ_TYPE|IRQ_STATUS)_/.test(name)
  );
  assertEquals(names.length, 20);
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/virtio_gpio.h>
    int main(void) {
      ${STRUCTURES.map(([name]) => `printf("%zu ", sizeof(struct ${name}));`).join("\n")}
      ${OFFSETS.map(([s, f]) => `printf("%zu ", offsetof(struct ${s}, ${f}));`).join("\n")}
      ${names.map(([name]) => `printf("%d ", VIRTIO_GPIO_${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), [
    ...STRUCTURES.map(([, size]) => size),
    ...OFFSETS.map(([, , offset]) => offset),
    ...names.map(([, value]) => value),
  ]);
});
