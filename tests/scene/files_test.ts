// SPDX-License-Identifier: Apache-2.0
// A scene that lies in several files: what one file may say, and what only one of them may.
import { assertEquals, assertThrows } from "@std/assert";
import { loadSceneClasses, readScenes, SceneError } from "../../lib/scene/mod.ts";

const CLASSES = await loadSceneClasses();

const device = (node: number, more = "") =>
  `[[device]]\nclass = "rng"\nloopback = "/dev/loopback-${node}"\n${more}\n`;

const read = (...texts: string[]) =>
  readScenes(texts.map((text, i) => ({ path: `${i}.toml`, text })), CLASSES);

/** The mistakes in some files, as path:line: text. */
function mistakes(...texts: string[]): string[] {
  const error: SceneError = assertThrows(() => void read(...texts), SceneError);
  return error.problems.map(({ path, line, text }) => `${path}:${line}: ${text}`);
}

Deno.test("the devices and lanes of several files are one scene, in the files' order", () => {
  const { devices, lanes } = read(
    device(7) + device(8, 'name = "second"'),
    device(9, 'lane = "fast"') + "[lane.fast]\nrealtime = 40\n[lane.main]\ncpus = [1]\n",
  );
  assertEquals(devices.map(({ name }) => name), ["rng0", "second", "rng1"]);
  assertEquals(devices.map(({ attachment: { loopback } }) => loopback.at(-1)), ["7", "8", "9"]);
  assertEquals(lanes, [{ name: "fast", realtime: 40 }, { name: "main", cpus: [1] }]);
});

Deno.test("a device may be in a lane of another file", () => {
  const { lanes } = read(device(7, 'lane = "fast"'), device(8) + "[lane.fast]\nrealtime = 40\n");
  assertEquals(lanes.length, 1);
});

Deno.test("what two devices have and only one can is reported with the file of the second", () => {
  assertEquals(mistakes(device(7), device(8) + device(7)), [
    '1.toml:7: Cannot use loopback "/dev/loopback-7" twice: [[device]] 1 has it already',
  ]);
  assertEquals(mistakes(device(7, 'name = "a"'), device(8, 'name = "a"')), [
    '1.toml:4: Cannot use name "a" twice: [[device]] 1 has it already',
  ]);
});

Deno.test("a lane is in one file only, which need have no device", () => {
  const lane = "[lane.main]\ncpus = [1]\n";
  assertEquals(mistakes(device(7) + lane, device(8) + lane), [
    "1.toml:5: Cannot use lane.main twice: it is in 0.toml already",
  ]);
  assertEquals(mistakes(device(7), "[lane.fast]\nrealtime = 1\n"), [
    "1.toml:1: Cannot set up [lane.fast]: no device is in it, expected main",
  ]);
  assertEquals(read(lane, device(7)).lanes, [{ name: "main", cpus: [1] }]);
});

Deno.test("what is of one kind in one file and of another in the next is refused", () => {
  assertEquals(mistakes(device(7), "device = 1\n"), [
    "1.toml:1: Cannot use device twice: it is in 0.toml already",
  ]);
  for (const key of ["__proto__", "constructor"]) {
    const [found] = mistakes(device(7), `[${key}]\n[lane.${key}]\n`);
    assertEquals(found!.split(" in ")[0], `1.toml:1: Cannot use "${key}"`);
  }
  assertEquals(mistakes("rng = 1\n", "rng = 2\n"), [
    "1.toml:1: Cannot use rng twice: it is in 0.toml already",
  ]);
});

Deno.test("a key before the first section belongs to no section of the file before", () => {
  const [found, ...more] = mistakes(device(7), "priority = 1\n" + device(8));
  assertEquals([found!.split(" in ")[0], more], ['1.toml:1: Cannot use "priority"', []]);
});

Deno.test("each file's own mistakes are reported, with its path", () => {
  const found = mistakes("[[device]\n", device(7), "[[device]\n");
  assertEquals(found.map((text) => text.split(": ")[0]), ["0.toml:1", "2.toml:1"]);
  assertEquals(mistakes(device(7), "[[device]]\nclass = 1\n").map((text) => text.split(": ")[0]), [
    "1.toml:1",
    "1.toml:2",
  ]);
});
