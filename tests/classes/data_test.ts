// SPDX-License-Identifier: Apache-2.0
// What the standard says of each class that viola only passes on: id, queues by what a back-end is, config space.
import { assertEquals } from "@std/assert";
import { console, fs, gpio, i2c, input, net, scmi, spi, vsock } from "../../lib/classes/mod.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { bit } from "../../lib/virtio/features.ts";

/** A config space that is zeros but for some little-endian numbers. */
function configOf(size: number, numbers: [offset: number, bytes: number, value: number][] = []) {
  const config = new Uint8Array(size);
  for (const [offset, bytes, value] of numbers) {
    for (let i = 0; i < bytes; i++) config[offset + i] = value >>> 8 * i;
  }
  return config;
}

function queuesOf(
  { queues }: DeviceClass,
  features: readonly number[],
  config: Uint8Array<ArrayBuffer>,
) {
  const bits = features.reduce((all, n) => all | bit(n), 0n);
  const rows = queues({ features: bits, queueCount: 256, config });
  return rows.map(({ name, kind, size }) => `${name} ${kind} ${size}`);
}

const IDS: [DeviceClass, id: number, config: (string | number | boolean)[]][] = [
  [net, 1, [12, 12, "cached", false]],
  [console, 3, [12, 12, "cached", false]],
  [input, 18, [136, 136, "forwarded", true]],
  [vsock, 19, [8, 8, "cached", true]],
  [fs, 26, [40, 40, "cached", true]],
  [scmi, 32, [0, 0, "cached", false]],
  [i2c, 34, [0, 0, "cached", false]],
  [gpio, 41, [8, 8, "cached", true]],
  [spi, 45, [32, 32, "cached", true]],
];

for (const [one, id, expected] of IDS) {
  Deno.test(`${one.name}: its id and config space are the standard's`, () => {
    const { min, max, access, required } = one.config;
    assertEquals(one.id, id);
    assertEquals([min, max, access, required], expected);
  });
}

const NONE = configOf(0);
const QUEUES: [DeviceClass, what: string, features: number[], Uint8Array<ArrayBuffer>, string[]][] =
  [
    [i2c, "always", [0], NONE, ["request request 64"]],
    [spi, "always", [], configOf(32), ["request request 64"]],
    [input, "always", [], configOf(136), ["event event 64", "status request 64"]],
    [vsock, "always", [1], configOf(8), ["rx event 128", "tx request 128", "event event 128"]],
    [gpio, "without F_IRQ", [], configOf(8), ["request request 64"]],
    [gpio, "with F_IRQ", [0], configOf(8), ["request request 64", "event watch 256"]],
    [scmi, "without P2A_CHANNELS", [1], NONE, ["command request 64"]],
    [scmi, "with P2A_CHANNELS", [0], NONE, ["command request 64", "event event 64"]],
    [fs, "of no queue for requests", [], configOf(40), [
      "hiprio request 128",
      "request 0 request 128",
    ]],
    [
      fs,
      "of two queues for requests",
      [],
      configOf(40, [[36, 4, 2]]),
      ["hiprio request 128", "request 0 request 128", "request 1 request 128"],
    ],
    [console, "of one port", [0, 2], configOf(12, [[4, 4, 9]]), [
      "rx 0 event 64",
      "tx 0 watch 64",
    ]],
    [console, "without config space", [1], NONE, ["rx 0 event 64", "tx 0 watch 64"]],
    [
      console,
      "of two ports",
      [1],
      configOf(12, [[4, 4, 2]]),
      [
        "rx 0 event 64",
        "tx 0 watch 64",
        "control rx event 64",
        "control tx request 64",
        "rx 1 event 64",
        "tx 1 watch 64",
      ],
    ],
    [net, "without config space", [17, 22], NONE, ["rx 0 event 256", "tx 0 request 256"]],
    [
      net,
      "with a control queue",
      [17],
      configOf(12, [[8, 2, 7]]),
      ["rx 0 event 256", "tx 0 request 256", "control request 64"],
    ],
    [
      net,
      "of two pairs",
      [17, 22],
      configOf(12, [[8, 2, 2]]),
      [
        "rx 0 event 256",
        "tx 0 request 256",
        "rx 1 event 256",
        "tx 1 request 256",
        "control request 64",
      ],
    ],
  ];

for (const [one, what, features, config, expected] of QUEUES) {
  Deno.test(`${one.name}: its queues are the standard's, ${what}`, () => {
    assertEquals(queuesOf(one, features, config), expected);
  });
}
