// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { loadSceneClasses, readScene, sceneSchema } from "../../lib/scene/mod.ts";
import { readToml } from "../../lib/scene/toml.ts";

const CLASSES = await loadSceneClasses();

const CAR = `
[[device]]
class = "sound"
name = "cabin"
loopback = "/dev/loopback-237"
sink = "null"
source = ["silence", "wav:a.wav"]
latency = 5
priority = 1
lane = "audio"

[[device]]
class = "can"
loopback = "/dev/loopback-238"
socket = "/run/can.sock0"
command = "vhost-device-can --socket-path /run/can.sock"
memory = "direct"
mmio-version = 2
keep = false

[lane.audio]
cpus = [0, 1]
realtime = 40
`;

Deno.test("a scene: who serves its devices", () => {
  const { devices } = readScene(CAR, CLASSES);
  assertEquals(devices.map(({ name, server }) => ({ name, ...server })), [
    {
      name: "cabin",
      kind: "own",
      spec: { sinks: ["null"], sources: ["silence", "wav:a.wav"], latencyMs: 5 },
    },
    {
      name: "can",
      kind: "foreign",
      socket: "/run/can.sock0",
      command: "vhost-device-can --socket-path /run/can.sock",
    },
  ]);
});

Deno.test("a scene: how its devices are attached, and lanes", () => {
  const { devices, lanes } = readScene(CAR, CLASSES);
  const usual = { memory: "isolated", mmioVersion: "auto", priority: 0, lane: "main" };
  assertEquals(
    devices.map(({ attachment }) => ({ ...attachment, class: attachment.class.name })),
    [
      {
        ...usual,
        class: "sound",
        name: "cabin",
        loopback: "/dev/loopback-237",
        priority: 1,
        lane: "audio",
      },
      {
        ...usual,
        class: "can",
        name: "can",
        loopback: "/dev/loopback-238",
        memory: "direct",
        mmioVersion: 2,
        keep: false,
      },
    ] as unknown[],
  );
  assertEquals(lanes, [{ name: "audio", cpus: [0, 1], realtime: 40 }]);
});

Deno.test("devices without a name are called after their class, with numbers where there are several", () => {
  const one = (className: string, n: number, name = ""): string =>
    `[[device]]\nclass = "${className}"\nloopback = "soft:/${n}"\n${name && `name = "${name}"\n`}`;
  const text = one("rng", 1) + one("can", 2) + one("can", 3, "body") + one("sound", 4) +
    one("sound", 5);
  const names = readScene(text, CLASSES).devices.map(({ name }) => name);
  assertEquals(names, ["rng", "can", "body", "sound0", "sound1"]);
});

Deno.test("the lines of sections and keys are found", () => {
  const { lineOf } = readToml(`# a comment
top = 1
[[device]] # the first
  name = "a"
a.b = 2
[[device]]
text = '''
name = "not this"
'''
name = "b"
[lane . "x y"]
cpus = [
  1,
]
[[device.part]]
n = 1
`);
  const places: [(string | number)[], number][] = [
    [["top"], 2],
    [["device"], 3],
    [["device", 0], 3],
    [["device", 0, "name"], 4],
    [["device", 0, "a", "b"], 5],
    [["device", 1], 6],
    [["device", 1, "name"], 10],
    [["device", 1, "absent"], 6],
    [["lane", "x y", "cpus", 0], 12],
    [["device", 1, "part", 0, "n"], 16],
    [["absent"], 1],
  ];
  for (const [path, line] of places) assertEquals(lineOf(path), line, path.join("."));
});

Deno.test("the schema is plain JSON, and names its draft", () => {
  const schema = sceneSchema(CLASSES);
  assertEquals(JSON.parse(JSON.stringify(schema)), schema);
  assertEquals(schema.$schema, "https://json-schema.org/draft/2020-12/schema");
});
