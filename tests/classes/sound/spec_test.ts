// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { checkSound } from "../../../lib/classes/sound/check.ts";
import { parseSink, parseSource, type SoundSpec } from "../../../lib/classes/sound/spec.ts";
import { SpecError } from "../../../lib/device/mod.ts";
import { WavWriter } from "../../../lib/wav/mod.ts";

Deno.test("sinks and sources are read from their texts", () => {
  assertEquals(parseSink("null"), { kind: "null" });
  assertEquals(parseSink("wav:a.wav"), { kind: "wav", path: "a.wav", append: false });
  assertEquals(parseSink("wav:a:b,c.wav,append"), {
    kind: "wav",
    path: "a:b,c.wav",
    append: true,
  });
  assertEquals(parseSink("exec:cat > a:b"), { kind: "exec", command: "cat > a:b" });
  assertEquals(parseSource("silence"), { kind: "silence" });
  const pw = 'case "$(pw-cat --help)" in *--raw*) raw=--raw;; esac; exec pw-cat';
  const format = "--format $PW_FORMAT --rate $RATE --channels $CHANNELS -";
  assertEquals(parseSink("pipewire:"), {
    kind: "exec",
    command: `${pw} --playback $raw --properties '{ node.name = "viola" }' ${format}`,
  });
  assertEquals(parseSource("pipewire:alsa_input.0,role=Phone,name=mic"), {
    kind: "exec",
    command: `${pw} --record $raw --target alsa_input.0 --media-role Phone ` +
      `--properties '{ node.name = "mic" }' ${format}`,
  });
  const wrong = ["pipewire", "pipewire:a b", "pipewire:'", "pipewire:a,role", "pipewire:a,role=$x"];
  for (
    const text of [...wrong, "pipewire:,rule=Music", "pipewire:,name=", "pipewire:,name=a,name=b"]
  ) {
    assertThrows(() => parseSink(text), SpecError, "pipewire:[NODE][,name=NAME][,role=ROLE]");
    assertThrows(() => parseSource(text), SpecError, "pipewire:[NODE][,name=NAME][,role=ROLE]");
  }
  assertEquals(parseSource("wav:a,append"), { kind: "wav", path: "a,append" });
  assertEquals(parseSource("exec:cat /dev/zero"), { kind: "exec", command: "cat /dev/zero" });
});

Deno.test("the sink wav:,append is refused: that is a file without a name", () => {
  assertThrows(() => parseSink("wav:,append"), SpecError);
});

for (const text of ["", "nul", "null:", "wav", "wav:", "exec:", "exec: ", "WAV:a"]) {
  Deno.test(`the sink "${text}" is refused, and so is the source`, () => {
    assertThrows(() => parseSink(text), SpecError, `"${text}", expected wav:FILE`);
    assertThrows(() => parseSource(text), SpecError, `"${text}", expected wav:FILE`);
  });
}

const BAD_SPECS: [name: string, spec: SoundSpec, why: string][] = [
  ["no streams", { sinks: [] }, "a card of 0 streams"],
  ["33 streams", { sinks: new Array(33).fill("null") }, "33 streams, expected 1 to 32"],
  ["two sinks in one file", { sinks: ["wav:a", "wav:a,append"] }, "two streams to one file, a"],
  ["a negative latency", { latencyMs: -1 }, "latency of -1 ms"],
  ["a latency that is no number", { latencyMs: NaN }, "latency of NaN ms"],
  ["no time for commands", { graceMs: -1 }, "give commands a grace time of -1 ms"],
];
for (const [name, spec, why] of BAD_SPECS) {
  Deno.test(`a card with ${name} is refused`, () => {
    assertThrows(() => checkSound(spec), SpecError, why);
  });
}

Deno.test("a sink's file that cannot be written is reported before the device starts, and none is created", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const check = (path: string) => checkSound({ sinks: [`wav:${path}`] });
    for (const append of ["", ",append"]) {
      assertThrows(() => check(`${folder}/none/a.wav${append}`), SpecError, "no such file");
      assertThrows(() => check(`${folder}${append}`), SpecError, "it is a folder");
      assertThrows(() => check(`/proc/a.wav${append}`), SpecError, "/proc/a.wav");
      check(`${folder}/a.wav${append}`);
      assertEquals([...Deno.readDirSync(folder)], []);
    }
    Deno.writeTextFileSync(`${folder}/a.wav`, "kept until it is played to");
    check(`${folder}/a.wav`);
    assertEquals(Deno.readTextFileSync(`${folder}/a.wav`), "kept until it is played to");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("two streams cannot use one file, under whatever names", () => {
  const folder = Deno.makeTempDirSync();
  const at = (name: string) => `${folder}/${name}`;
  try {
    Deno.copyFileSync("/usr/share/sounds/alsa/Noise.wav", at("in.wav"));
    Deno.linkSync(at("in.wav"), at("hard.wav"));
    Deno.symlinkSync("in.wav", at("soft.wav"));
    Deno.symlinkSync(at("soft.wav"), at("soft2.wav"));
    Deno.symlinkSync("to-come.wav", at("dangling.wav"));
    Deno.mkdirSync(at("sub"));
    Deno.symlinkSync(folder, at("sub/up"));
    const before = [...Deno.readDirSync(folder)].length;
    const aliases: [string, string, isThere: boolean][] = [
      ["in.wav", "in.wav", true],
      ["in.wav", "hard.wav", true],
      ["soft.wav", "in.wav", true],
      ["soft2.wav", "hard.wav", true],
      ["sub/up/in.wav", "in.wav", true],
      ["sub/../in.wav", "sub/up/soft.wav", true],
      ["to-come.wav", "to-come.wav", false],
      ["to-come.wav", "./to-come.wav", false],
      ["to-come.wav", "dangling.wav", false],
      ["dangling.wav", "sub/up/to-come.wav", false],
    ];
    for (const [a, b, isThere] of aliases) {
      const check = (spec: Partial<SoundSpec>) => checkSound(spec);
      const twice = { sinks: [`wav:${at(a)}`, "null", `wav:${at(b)},append`] };
      assertThrows(() => check(twice), SpecError, "Cannot play two streams to one file, ");
      if (!isThere) continue;
      const both = { sinks: [`wav:${at(a)}`], sources: [`wav:${at(b)}`] };
      assertThrows(() => check(both), SpecError, "and capture from it at the same time");
      check({ sources: [`wav:${at(a)}`, `wav:${at(b)}`] });
      check({ sinks: [`wav:${at("to-come.wav")}`], sources: [`wav:${at(b)}`] });
    }
    assertEquals([...Deno.readDirSync(folder)].length, before);
    const noise = Deno.readFileSync("/usr/share/sounds/alsa/Noise.wav");
    assertEquals(Deno.readFileSync(at("in.wav")), noise);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("a source's file is checked before the device starts", () => {
  const path = Deno.makeTempFileSync();
  try {
    const spec: SoundSpec = { sources: [`wav:${path}`] };
    assertThrows(() => checkSound(spec), SpecError, "it is empty");
    const format = { encoding: "pcm", bits: 16, channels: 1, rate: 12_345 } as const;
    const writer = WavWriter.create(path, format);
    writer.write(new Uint8Array(2));
    writer.commit();
    writer.close();
    assertThrows(() => checkSound(spec), SpecError, "12345 Hz, expected");
  } finally {
    Deno.removeSync(path);
  }
});
