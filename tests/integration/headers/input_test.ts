// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { input as inputClass } from "../../../lib/classes/input/class.ts";
import * as input from "../../../lib/classes/input/wire.ts";
import { EVDEV_NUMBERS, evdevRequest, EVIOCGRAB } from "../../../ffi/mod.ts";
import { HOST_EVENT_SIZE } from "../../../lib/classes/input/evdev.ts";
import { runC } from "./run_c.ts";

Deno.test("sizes, offsets and codes are those of <linux/virtio_input.h>", async () => {
  const selects = Object.entries(input).filter(([name]) => name.startsWith("CFG_"));
  assertEquals(selects.length, 7);
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/virtio_ids.h>
    #include <linux/virtio_input.h>
    int main(void) {
      printf("%zu ", sizeof(struct virtio_input_config));
      printf("%zu ", offsetof(struct virtio_input_config, u));
      printf("%zu ", sizeof(struct virtio_input_event));
      printf("%zu ", sizeof(struct virtio_input_devids));
      printf("%zu ", sizeof(struct virtio_input_absinfo));
      printf("%zu ", offsetof(struct virtio_input_absinfo, res));
      printf("%zu ", offsetof(struct virtio_input_event, value));
      printf("%d ", VIRTIO_ID_INPUT);
      ${selects.map(([name]) => `printf("%d ", VIRTIO_INPUT_${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), [
    input.INPUT_CONFIG_SIZE,
    input.PAYLOAD_AT,
    input.EVENT_SIZE,
    input.DEVIDS_SIZE,
    input.ABSINFO_SIZE,
    16, // as wire_test.ts has them
    4,
    inputClass.id,
    ...selects.map(([, value]) => value as number),
  ]);
});

Deno.test("event types and numbers of codes are those of <linux/input.h>", async () => {
  const types = Object.entries(input.EVENT_TYPES);
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/input.h>
    int main(void) {
      ${types.map(([name]) => `printf("%d %d ", ${name}, ${name.slice(3)}_MAX + 1);`).join("\n")}
      printf("%d", SYN_REPORT);
      return 0;
    }
  `);
  const numbers = printed.trim().split(" ").map(Number);
  const ours = [...types.flatMap(([, pair]) => [...pair]), input.SYN_REPORT];
  const switches = 2 * types.findIndex(([name]) => name === "EV_SW") + 1; // newer kernels have more
  assert(ours[switches]! >= numbers[switches]!);
  assertEquals(numbers.with(switches, 0), ours.with(switches, 0));
});

Deno.test("input devices of the host are asked by the compiler's numbers", async () => {
  const sized: Record<string, number> = { EVIOCGID: 8, EVIOCGABS: 24 };
  const names = Object.keys(EVDEV_NUMBERS) as (keyof typeof EVDEV_NUMBERS)[];
  const argumentOf = (name: string): string => {
    if (name === "EVIOCGID") return "";
    return name === "EVIOCGABS" ? "(0)" : name === "EVIOCGBIT" ? "(0, 128)" : "(128)";
  };
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/input.h>
    int main(void) {
      ${names.map((name) => `printf("%u ", (unsigned)${name}${argumentOf(name)});`).join("\n")}
      printf("%u %zu %zu ", (unsigned)EVIOCGRAB, sizeof(struct input_event), offsetof(struct input_event, type));
      printf("%zu %zu ", offsetof(struct input_absinfo, minimum), offsetof(struct input_absinfo, resolution));
      printf("%d %d %d", SYN_DROPPED, ABS_MT_SLOT, ABS_MT_TOOL_Y);
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), [
    ...names.map((name) => evdevRequest(EVDEV_NUMBERS[name], sized[name] ?? 128)),
    ...[EVIOCGRAB, HOST_EVENT_SIZE, 16],
    ...[4, 20],
    ...[3, 0x2f, 0x3d], // as evdev.ts has them
  ]);
});
