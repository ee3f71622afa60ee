// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DROP_IN_USAGE, isDropIn, parseDropIn } from "../../cli/dropin.ts";
import { Failure } from "../../cli/exit.ts";
import { oneOf } from "../../lib/scene/words.ts";
import { block, DEVICE_CLASSES, rng } from "../../lib/classes/mod.ts";

Deno.test("isDropIn() knows the C program by its name and by its options", () => {
  const table: [string, string[], boolean][] = [
    ["/usr/bin/virtio-loopback-adapter", [], true],
    ["virtio-loopback-adapter", ["demo"], true],
    ["./virtio-loopback-adapter", ["-d", "vhusnd"], true],
    ["/usr/bin/viola", ["-d", "vhusnd"], true],
    ["viola", ["-s", "/tmp/s"], true],
    ["viola", ["-qn", "1"], true],
    ["viola", ["-qs", "1"], true],
    ["viola", ["-l", "237"], true],
    ["viola", [], false],
    ["viola", ["demo"], false],
    ["viola", ["--help"], false],
    ["viola", ["attach", "-d"], false],
    ["deno", ["-h"], false],
    ["not-virtio-loopback-adapter", [], false],
  ];
  for (const [name, args, expected] of table) {
    assertEquals(isDropIn(name, args), expected, `${name} ${args}`);
  }
});

Deno.test("parseDropIn() accepts what scripts for the C program say", () => {
  const table: [string, { class: string; socket: string; loopback: string }][] = [
    ["-d vhusnd -s /tmp/s", { class: "sound", socket: "/tmp/s", loopback: "/dev/loopback" }],
    ["-s /tmp/s -d vhurng", { class: "rng", socket: "/tmp/s", loopback: "/dev/loopback" }],
    ["-d vhusnd -s s -l 237", { class: "sound", socket: "s", loopback: "/dev/loopback-237" }],
    ["-l 0 -d vhusnd -s s", { class: "sound", socket: "s", loopback: "/dev/loopback-0" }],
    ["-d vhusnd -s s -l soft:/tmp/n", { class: "sound", socket: "s", loopback: "soft:/tmp/n" }],
    ["-d vhusnd -s s -qn 1 -qs 64", { class: "sound", socket: "s", loopback: "/dev/loopback" }],
    ["-d vhusnd -s s -qn 16", { class: "sound", socket: "s", loopback: "/dev/loopback" }],
  ];
  for (const [line, expected] of table) {
    const { devices: [device], lanes, backEndMs } = parseDropIn(line.split(" "));
    const { class: { name }, socket, loopback, memory, mmioVersion } = device!;
    assertEquals({ class: name, socket, loopback }, expected, line);
    assertEquals([memory, mmioVersion, lanes, backEndMs], [
      "isolated",
      "auto",
      [{ name: "main" }],
      5000,
    ]);
    assertEquals(device!.keep, undefined, "the bridge knows which nodes must be kept");
  }
});

Deno.test("parseDropIn() refuses other command lines with a message and exit status 1", () => {
  const served = oneOf(DEVICE_CLASSES.flatMap(({ dropInNames }) => dropInNames));
  const table: [string[], RegExp][] = [
    [[], /-d DEVICE is missing$/],
    [["-d"], /-d: it has no value/],
    [["-d", ""], /-d: it has no value/],
    [["-d", "vhusnd"], /-s SOCKET is missing/],
    [["-s", "/tmp/s"], /-d DEVICE is missing/],
    [["-d", "sound", "-s", "s"], new RegExp(`"sound": it is not a device, expected ${served}`)],
    [["--help"], /Cannot understand "--help"$/],
    [["-d", "vhurng", "-d", "vhusnd", "-s", "s"], /a second -d: expected one device$/],
    [["-d", "vhusnd", "-s", "s", "-s", "s"], /a second -s/],
    [["-d", "vhusnd", "-s", "s", "more"], /Cannot understand "more"/],
    [["-d", "vhusnd", "-s", "s", "-x", "1"], /Cannot understand "-x"/],
    [["-d", "vhusnd", "-s", "s", "-l", "one"], /-l "one": expected the N/],
    [["-d", "vhusnd", "-s", "s", "-l", "-1"], /-l "-1"/],
    [["-d", "vhusnd", "-s", "s", "-l", "soft:"], /-l "soft:"/],
    [["-d", "vhusnd", "-s", "s", "-qn", "0"], /-qn "0": expected a number from 1 to 16/],
    [["-d", "vhusnd", "-s", "s", "-qn", "17"], /-qn "17"/],
    [["-d", "vhusnd", "-s", "s", "-qs", "1025"], /-qs "1025": expected a number from 1 to 1024/],
    [["-d", "vhusnd", "-s", "s", "-qs", "x"], /-qs "x"/],
    [["-d", "vhublk", "-s", "s", "-qn", "1", "-qs", "65"], /-qs 65: expected a power of 2/],
  ];
  for (const [args, message] of table) {
    const error = assertThrows(() => parseDropIn(args), Failure);
    assertEquals([error.status, error.usage], [1, DROP_IN_USAGE.split("\n")]);
    assert(message.test(error.message), `${args}: ${error.message}`);
  }
});

Deno.test("parseDropIn() takes -qn and -qs together, for disks", () => {
  const profile = { features: 1n << 12n, queueCount: 256, config: new Uint8Array(60) };
  profile.config[34] = 4;
  const sizes = (line: string): number[] => {
    const { devices: [device] } = parseDropIn(line.split(" "));
    return device!.class.queues(profile).map(({ size }) => size);
  };
  const masked = (line: string): bigint =>
    parseDropIn(line.split(" ")).devices[0]!.class.masked & ~block.masked;
  assertEquals(sizes("-d vhublk -s s -qn 1 -qs 64"), [64]);
  assertEquals(
    masked("-d vhublk -s s -qn 1 -qs 64"),
    1n << 12n,
    "the driver must not use the others",
  );
  assertEquals(sizes("-d vhublk -s s -qn 16 -qs 32"), [32, 32, 32, 32]);
  assertEquals(masked("-d vhublk -s s -qn 16 -qs 32"), 0n);
  const own = sizes("-d vhublk -s s");
  for (const rest of ["-qn 1", "-qs 16"]) assertEquals(sizes(`-d vhublk -s s ${rest}`), own);
  assertEquals(sizes("-d vhurng -s s -qn 2 -qs 8"), [64]);
});

Deno.test("parseDropIn() needs no socket for vrng, which viola serves itself", () => {
  const { devices: [device] } = parseDropIn(["-d", "vrng", "-l", "7"]);
  assertEquals([device!.class, device!.socket, device!.loopback], [rng, "", "/dev/loopback-7"]);
});
