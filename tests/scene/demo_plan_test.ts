// SPDX-License-Identifier: Apache-2.0
// How a demo runs a scene; and the scenes that come with viola.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { parse } from "smol-toml";
import {
  attachFile,
  checkDemo,
  DemoError,
  deviceArgs,
  endsViola,
  recordingOf,
} from "../../lib/scene/demo_plan.ts";
import { loadSceneClasses, readScene, type Scene } from "../../lib/scene/mod.ts";
import { SHIPPED_SCENES } from "../../lib/scene/scenes.ts";
import { stepsOf } from "../../lib/scene/timeline.ts";

const CLASSES = await loadSceneClasses();
const PLACES = { folder: "/t", out: "out" };

const TEXT = `
[[device]]
class = "sound"
name = "music"
loopback = "soft"
latency = 5
priority = 2
lane = "audio"
[[device]]
class = "sound"
name = "voice"
loopback = "/dev/loopback-1"
sink = ["null", "wav:a.wav"]
[[device]]
class = "can"
name = "body"
loopback = "soft"
socket = "/run/can"
memory = "direct"
[lane.audio]
cpus = [0]
`;
const scene = (more = ""): Scene => readScene(TEXT + more, CLASSES);

Deno.test("an embedded device is a process with its options; a card without a sink is recorded", () => {
  const { devices } = scene();
  assertEquals(deviceArgs(devices[0]!, 0, PLACES, CLASSES), [
    ...["device", "sound", "--socket", "/t/device0", "--latency", "5"],
    ...["--sink", "wav:out/music.wav,append"],
  ]);
  assertEquals(deviceArgs(devices[1]!, 1, PLACES, CLASSES), [
    ...["device", "sound", "--socket", "/t/device1", "--sink", "null", "--sink", "wav:a.wav"],
  ]);
  assertEquals(devices.map((device) => recordingOf(device, PLACES)), ["out/music.wav", null, null]);
});

Deno.test("all are attached, each as the scene says", () => {
  const { devices, lanes } = readScene(attachFile(scene(), PLACES), CLASSES);
  assertEquals(
    devices.map(({ name, server, attachment }) => {
      const { loopback, memory, priority, lane, keep } = attachment;
      return [
        name,
        server.kind === "foreign" ? server.socket : "",
        loopback,
        memory,
        priority,
        lane,
        keep,
      ];
    }),
    [
      ["music", "/t/device0", "soft:/t/node0", "isolated", 2, "audio", undefined],
      ["voice", "/t/device1", "/dev/loopback-1", "isolated", 0, "main", undefined],
      ["body", "/run/can", "soft:/t/node2", "direct", 0, "main", undefined],
    ],
  );
  assertEquals(lanes, [{ name: "audio", cpus: [0] }]);
});

Deno.test("devices are kept when viola itself ends in the middle", () => {
  const kill = scene('[[cue]]\nat = 1\nkill = "viola"\n');
  assertEquals([endsViola(scene()), endsViola(kill)], [false, true]);
  const { devices } = readScene(attachFile(kill, PLACES), CLASSES);
  assert(devices.every(({ attachment: { keep } }) => keep === true));
});

Deno.test("what cannot be shown is refused", () => {
  const play = '[[cue]]\nat = 0\nplay = "tone"\non = "music"\n';
  checkDemo(scene(`${play}[[expect]]\nequal = "music"\n`));
  const table: [Scene, RegExp][] = [
    [
      readScene(
        '[[device]]\nclass = "vsock"\nname = "hub"\nsocket = "/s"\nloopback = "soft"\n',
        CLASSES,
      ),
      /Cannot drive hub: viola has no software driver of class vsock/,
    ],
    [
      readScene('[[device]]\nclass = "rng"\nname = "viola"\nloopback = "soft"\n', CLASSES),
      /Cannot use the name viola/,
    ],
    [
      readScene(
        `${TEXT.replace("latency = 5", 'sink = "null"')}${play}[[expect]]\nequal = "music"\n`,
        CLASSES,
      ),
      /Cannot expect equal of music: its sound is not recorded/,
    ],
  ];
  for (const [one, message] of table) {
    const { message: text } = assertThrows(() => checkDemo(one), DemoError);
    assert(message.test(text), text);
  }
});

for (const { name, description, text } of SHIPPED_SCENES) {
  Deno.test(`the scene ${name} that comes with viola is valid`, () => {
    const one = readScene(text, CLASSES);
    checkDemo(one);
    assert(stepsOf(one.cues).length > 0 && one.expectations.length > 0, description);
    // So that viola up can check it too, but for its drivers.
    assertEquals(Object.keys(parse(text)).sort(), ["cue", "device", "expect"]);
  });
}
