// SPDX-License-Identifier: Apache-2.0
// Files with mistakes, written by hand and made from the schema: each gets one clear message, at its line.
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { loadSceneClasses, readScene, SceneError } from "../../lib/scene/mod.ts";
import { keyOf } from "../../lib/scene/schema.ts";

const CLASSES = await loadSceneClasses();

/** A device that is as it should be, in three lines. */
const DEVICE = `[[device]]
class = "sound"
loopback = "/dev/loopback-237"
`;

/** The mistakes in a file. */
function mistakes(text: string): { line: number; text: string }[] {
  const { problems } = assertThrows(() => readScene(text, CLASSES), SceneError, "", text);
  return [...problems];
}

const TABLE: [what: string, file: string, line: number, message: RegExp][] = [
  ["an empty file", "", 1, /the file: device is missing/],
  ["no TOML", "[[device]\n", 1, /Cannot read it as TOML/],
  ["a text without its end", `${DEVICE}name = "cabin\n`, 4, /Cannot read it as TOML/],
  ["a key twice", `${DEVICE}class = "can"\n`, 4, /Cannot read it as TOML/],
  ["a value without quotes", `${DEVICE}name = cabin\n`, 4, /Cannot read it as TOML/],
  ["no devices", "device = []\n", 1, /device = \[\]: expected an array of 1 or more/],
  [
    "one section where several are meant",
    DEVICE.replace("[[device]]", "[device]"),
    1,
    /expected an array/,
  ],
  ["a misspelt section", `${DEVICE}[[devise]]\n`, 4, /"devise" in the file.*did you mean device\?/],
  [
    "a section of another program",
    `${DEVICE}[server]\nkind = "pipewire"\n`,
    4,
    /"server".*expected device, lane, cue or expect/,
  ],
  [
    "a device of no class",
    `[[device]]\nloopback = "soft:/x"\n`,
    1,
    /\[\[device\]\] 1: class is missing/,
  ],
  ["a device without a driver", `[[device]]\nclass = "rng"\n`, 1, /loopback is missing/],
  ["a device with nothing", "[[device]]\n", 1, /class and loopback are missing/],
  [
    "a misspelt class",
    DEVICE.replace("sound", "sounds"),
    2,
    /"sounds" \(did you mean sound\?\).*rng/,
  ],
  [
    "a class that is a number",
    DEVICE.replace('"sound"', "25"),
    2,
    /class of \[\[device\]\] 1 = 25/,
  ],
  ["a class in capitals", DEVICE.replace("sound", "SOUND"), 2, /"SOUND".*expected sound, rng/],
  [
    "a driver that is none",
    DEVICE.replace("/dev/loopback-237", "loopback-237"),
    3,
    /expected \/dev\/loopback-N/,
  ],
  ["a driver with a long number", DEVICE.replace("237", "23777"), 3, /expected \/dev\/loopback-N/],
  [
    "a soft node without a path",
    DEVICE.replace("/dev/loopback-237", "soft:"),
    3,
    / soft:PATH, or soft/,
  ],
  [
    "a misspelt option",
    `${DEVICE}sinc = "null"\n`,
    4,
    /"sinc" in a device of class sound.*did you mean sink\?/,
  ],
  [
    "an option that nothing is like",
    `${DEVICE}tuba = 1\n`,
    4,
    /"tuba".*no such key, expected class/,
  ],
  [
    "an option of another class",
    `${DEVICE}filter = "1:7"\n`,
    4,
    /"filter" in a device of class sound/,
  ],
  ["an option with the dashes", `${DEVICE}"--sink" = "null"\n`, 4, /"--sink".*did you mean sink\?/],
  ["an option in camel case", `${DEVICE}mmioVersion = 2\n`, 4, /did you mean mmio-version\?/],
  [
    "an own option beside a socket",
    `${DEVICE}socket = "/s"\nsink = "null"\n`,
    5,
    /"sink" in a device of class sound with a socket/,
  ],
  [
    "a number as text",
    `${DEVICE}latency = "5"\n`,
    4,
    /latency of \[\[device\]\] 1 = "5": expected a whole number from 0 to 10000/,
  ],
  [
    "a number that is too large",
    `${DEVICE}latency = 20000\n`,
    4,
    /= 20000: expected a whole number/,
  ],
  [
    "a fraction",
    `${DEVICE}priority = 1.5\n`,
    4,
    /priority of \[\[device\]\] 1 = 1.5: expected a whole number from -100 to 100/,
  ],
  ["a number that is too small", `${DEVICE}priority = -101\n`, 4, /from -100 to 100/],
  [
    "a misspelt choice",
    `${DEVICE}pace = "reel"\n`,
    4,
    /"reel" \(did you mean real\?\): expected real or free/,
  ],
  ["a choice that is a list", `${DEVICE}memory = ["direct"]\n`, 4, /expected isolated or direct/],
  [
    "a list of the wrong kind",
    `${DEVICE}sink = [1]\n`,
    4,
    /sink of \[\[device\]\] 1 = \[1\]: expected a text.*array/,
  ],
  ["an empty list", `${DEVICE}sink = []\n`, 4, /= \[\]: expected a text/],
  ["an empty text", `${DEVICE}sink = ""\n`, 4, /expected a text that is not empty/],
  [
    "a switch that is a number",
    `${DEVICE}keep = 1\n`,
    4,
    /keep of \[\[device\]\] 1 = 1: expected true or false/,
  ],
  ["a version that does not exist", `${DEVICE}mmio-version = 3\n`, 4, /= 3: expected 1, 2 or auto/],
  [
    "a name with a space",
    `${DEVICE}name = "the cabin"\n`,
    4,
    /"the cabin": expected letters, digits/,
  ],
  ["an empty name", `${DEVICE}name = ""\n`, 4, /expected letters, digits/],
  ["a name of 65 letters", `${DEVICE}name = "${"x".repeat(65)}"\n`, 4, /at most 64/],
  ["a lane with a slash", `${DEVICE}lane = "a/b"\n`, 4, /expected letters, digits/],
  [
    "a command without a socket",
    `${DEVICE}command = "true"\n`,
    1,
    /"command" in \[\[device\]\] 1: it needs socket too/,
  ],
  ["a class without a device of viola's", DEVICE.replace("sound", "vsock"), 1, /socket is missing/],
  ["an empty socket", `${DEVICE}socket = ""\n`, 4, /expected a text that is not empty/],
  [
    "two devices of one name",
    `${DEVICE}name = "a"\n${DEVICE.replace("237", "238")}name = "a"\n`,
    8,
    /name "a" twice: \[\[device\]\] 1 has it/,
  ],
  [
    "a name that another device has by itself",
    `${DEVICE}${DEVICE.replace("237", "238").replace("sound", "rng")}name = "sound"\n`,
    7,
    /name "sound" twice/,
  ],
  ["two devices at one node", `${DEVICE}${DEVICE}`, 6, /loopback "\/dev\/loopback-237" twice/],
  [
    "two devices at one socket",
    `${DEVICE}socket = "/s"\n${DEVICE.replace("237", "238")}socket = "/s"\n`,
    8,
    /socket "\/s" twice/,
  ],
  [
    "the second device's mistake",
    `${DEVICE}\n${DEVICE.replace("237", "238")}sinc = "null"\n`,
    8,
    /"sinc"/,
  ],
  [
    "a lane that nobody uses",
    `${DEVICE}[lane.audio]\ncpus = [1]\n`,
    4,
    /\[lane.audio\]: no device is in it, expected main/,
  ],
  ["a lane without CPUs", `${DEVICE}[lane.main]\ncpus = []\n`, 5, /cpus of \[lane.main\] = \[\]/],
  [
    "a CPU that cannot be",
    `${DEVICE}[lane.main]\ncpus = [53]\n`,
    5,
    /cpus\[0\] of \[lane.main\] = 53: expected a whole number from 0 to 52/,
  ],
  [
    "CPUs as on the command line",
    `${DEVICE}[lane.main]\ncpus = "1,2"\n`,
    5,
    /= "1,2": expected an array/,
  ],
  ["a real-time priority of 100", `${DEVICE}[lane.main]\nrealtime = 100\n`, 5, /from 1 to 99/],
  [
    "a misspelt key of a lane",
    `${DEVICE}[lane.main]\ncpu = [1]\n`,
    5,
    /"cpu" in \[lane.main\].*did you mean cpus\?/,
  ],
  [
    "a lane that is no section",
    `${DEVICE}[lane]\nmain = 1\n`,
    5,
    /\[lane.main\] = 1: expected a section/,
  ],
  [
    "a lane whose name has a space",
    `${DEVICE}[lane."a b"]\n`,
    4,
    /the name \[lane.a b\]: expected letters/,
  ],
  ["a date", `${DEVICE}priority = 2026-11-28\n`, 4, /priority of \[\[device\]\] 1 = "2026-11-28/],
  [
    "a key after a text of several lines",
    `${DEVICE}sink = """exec:a\nsinc = 1\n"""\nsinc = 2\n`,
    7,
    /"sinc"/,
  ],
];

for (const [what, file, line, message] of TABLE) {
  Deno.test(`a scene with ${what} is refused with one message`, () => {
    const found = mistakes(file);
    assertEquals(found.length, 1, JSON.stringify(found));
    assertEquals(found[0]!.line, line, found[0]!.text);
    assertMatch(found[0]!.text, message);
  });
}

Deno.test("nested structures and long keys are refused at once", () => {
  const table = [
    `a = ${"[".repeat(50_000)}`,
    `${"a.".repeat(20_000)}b = 1\n`,
    `[${"a.".repeat(20_000)}b]\n`,
    `[${"a.".repeat(500)}b]\n`.repeat(100),
  ];
  for (const text of table) assert(mistakes(text).length >= 1);
});

Deno.test("every mistake of a file is reported, in the order of the lines", () => {
  const found = mistakes(`${DEVICE}sinc = 1\npriority = 101\n\n[lane.main]\nrealtime = 0\n`);
  assertEquals(found.map(({ line }) => line), [4, 5, 8]);
});

/** Values that are right for an option, and those that no option takes. */
function valueFor(
  { range, choices, flags }: (typeof CLASSES)[number]["cli"]["options"][number],
): string {
  if (!flags.includes("<")) return "true";
  if (range !== undefined) return String(range[0]);
  return JSON.stringify(choices?.[0] ?? "text");
}

Deno.test("each option of each class is a key, and takes no value of another kind", () => {
  let keys = 0;
  for (const { deviceClass: { name, roles }, cli } of CLASSES) {
    const head = `[[device]]\nclass = "${name}"\nloopback = "soft:/x"\n`;
    if (roles.device === undefined) continue;
    const all = cli.options.map((option) => `${keyOf(option)} = ${valueFor(option)}\n`);
    const { devices } = readScene(head + all.join(""), CLASSES);
    assertEquals(devices.length, 1, name);
    for (const option of cli.options) {
      keys++;
      const found = mistakes(`${head}${keyOf(option)} = { a = 1 }\n`);
      assertEquals(found.length, 1, JSON.stringify(found));
      assertEquals(found[0]!.line, 4);
      assertMatch(found[0]!.text, new RegExp(`^Cannot use ${keyOf(option)} of .*expected `));
    }
  }
  assert(keys > 10, `${keys} options`);
});

Deno.test("any bytes are read, or refused with a line that the file has", () => {
  const pieces = [
    "[[device]]",
    "[lane.main]",
    "\n",
    '"',
    "'''",
    '"""',
    "class",
    " = ",
    "1",
    "[",
    "]",
    "{",
    "}",
    ".",
    "#",
    "é",
  ];
  for (let seed = 1; seed <= 2000; seed++) {
    let word = seed;
    const text = Array.from({ length: seed % 23 }, () => {
      word = Math.imul(word, 1_103_515_245) + 12_345 >>> 0;
      return pieces[word % pieces.length]!;
    }).join("");
    try {
      readScene(text, CLASSES);
    } catch (error) {
      if (!(error instanceof SceneError)) throw error;
      const lines = text.split("\n").length;
      for (const { line } of error.problems) {
        assert(line >= 1 && line <= lines, JSON.stringify(text));
      }
    }
  }
});
