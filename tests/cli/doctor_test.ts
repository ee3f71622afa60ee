// SPDX-License-Identifier: Apache-2.0
// What viola doctor finds, on systems that a test makes up.
import { assertEquals, assertMatch } from "@std/assert";
import { examine, type Finding, type System } from "../../cli/doctor_checks.ts";
import type { NodeUse } from "../../lib/loopback/mod.ts";
import { parseIomem } from "../../lib/loopback/mod.ts";
import { loadSceneClasses, readScene } from "../../lib/scene/mod.ts";

const CLASSES = await loadSceneClasses();

const IOMEM = "40000000-bfffffff : System RAM\n";

/** A board on which everything is there: AGL's node, the drivers, a daemon, root. */
class Board implements System {
  readonly files = new Map([
    ["/proc/iomem", IOMEM],
    ["/proc/sys/kernel/osrelease", "6.12.1\n"],
    ["/lib/modules/6.12.1/modules.alias", "alias virtio:d00000019v* virtio_snd\n"],
    [
      "/lib/modules/6.12.1/modules.builtin.modinfo",
      "virtio_rng.alias=virtio:d00000004v*\0virtio_rng.license=GPL\0",
    ],
    ["/sys/devices/system/cpu/online", "0-1,3\n"],
    ["/proc/self/status", "CapEff:\t000001ffffffffff\n"],
    ["/proc/self/limits", "Max realtime priority     0                    0\n"],
    ["/sys/kernel/realtime", "1\n"],
  ]);
  readonly folders = new Map([
    ["/dev", ["null", "loopback-237", "loopback-control"]],
    ["/usr/lib", ["aarch64-linux-gnu"]],
    ["/usr/lib/aarch64-linux-gnu", ["libasound.so.2"]],
    ["/run/user/0", ["pipewire-0"]],
  ]);
  readonly variables = new Map([["XDG_RUNTIME_DIR", "/run/user/0"]]);
  use: NodeUse = { kind: "unopened" };
  answer = "answers";

  read(path: string): string {
    const text = this.files.get(path);
    if (text === undefined) throw new Error(`Cannot open ${path}`);
    return text;
  }
  list = (path: string): string[] => this.folders.get(path) ?? [];
  env = (name: string): string | undefined => this.variables.get(name);
  nodeUse = (): NodeUse => this.use;
  checkSoft(path: string): void {
    if (path !== "/there") throw new Error(`Cannot open soft:${path}`);
  }
  ramRanges = parseIomem;
  askBackEnd(_device: unknown, socket: string): Promise<string> {
    if (this.answer === "") return Promise.reject(new Error(`Cannot connect to ${socket}`));
    return Promise.resolve(`${socket} ${this.answer}`);
  }
}

const CAR = `
[[device]]
class = "sound"
loopback = "/dev/loopback-237"
socket = "/run/card"

[[device]]
class = "rng"
loopback = "/dev/loopback-238"
lane = "urgent"

[lane.urgent]
cpus = [1]
realtime = 20
`;

/** What is found for a scene. */
async function found(board: Board, text = CAR): Promise<Finding[]> {
  return await examine(board, readScene(text, CLASSES));
}

/** Of the findings those that are not as they should be. */
function trouble(findings: readonly Finding[]): [what: string, state: string][] {
  return findings.filter(({ state }) => state !== "ok").map(({ what, state }) => [what, state]);
}

Deno.test("on a board with everything nothing is missing, and each part is named", async () => {
  const findings = await found(new Board());
  assertEquals(trouble(findings), []);
  assertEquals(findings.map(({ what }) => what), [
    "/dev/loopback-237",
    "/dev/loopback-238",
    "/proc/iomem",
    "driver of sound",
    "driver of rng",
    "real-time priority",
    "descriptor store",
    "ALSA",
    "PipeWire",
    "back-end of sound",
    "back-end of rng",
  ]);
  assertMatch(findings[3]!.text, /module virtio_snd/);
  assertMatch(findings[4]!.text, /built into the kernel/);
  assertMatch(findings[5]!.text, /PREEMPT_RT/);
});

Deno.test("a software driver of a demo needs nothing", async () => {
  const text = '[[device]]\nclass = "sound"\nloopback = "soft"\n';
  const findings = await found(new Board(), text);
  assertEquals(trouble(findings), []);
  assertMatch(findings[0]!.text, /viola demo starts/);
});

const TABLE: [what: string, change: (board: Board) => void, expected: [string, string][]][] = [
  ["a closed node", (board) => board.use = { kind: "spent" }, [
    ["/dev/loopback-237", "missing"],
    ["/dev/loopback-238", "missing"],
  ]],
  ["hidden addresses", (board) => board.files.set("/proc/iomem", "0-0 : System RAM\n"), [
    ["/proc/iomem", "missing"],
  ]],
  [
    "a kernel without the driver",
    (board) => board.files.set("/lib/modules/6.12.1/modules.alias", "#"),
    [
      ["driver of sound", "missing"],
    ],
  ],
  ["a kernel that says nothing", (board) => board.files.set("/proc/sys/kernel/osrelease", "7"), [
    ["drivers", "note"],
  ]],
  ["a CPU less", (board) => board.files.set("/sys/devices/system/cpu/online", "0\n"), [
    ["lane urgent", "missing"],
  ]],
  ["no right to priorities", (board) => board.files.set("/proc/self/status", "CapEff:\t0\n"), [
    ["real-time priority", "missing"],
  ]],
  [
    "systemd without a store",
    (board) => board.variables.set("NOTIFY_SOCKET", "/run/systemd/notify"),
    [
      ["descriptor store", "note"],
    ],
  ],
  ["no ALSA and no PipeWire", (board) => board.folders.clear(), [
    ["ALSA", "note"],
    ["PipeWire", "note"],
  ]],
  ["a daemon that is not there", (board) => board.answer = "", [["back-end of sound", "missing"]]],
];

for (const [what, change, expected] of TABLE) {
  Deno.test(`viola doctor finds ${what}, says what to do, and nothing else`, async () => {
    const board = new Board();
    change(board);
    const findings = await found(board);
    assertEquals(trouble(findings), expected);
    for (const { state, todo } of findings) assertEquals(todo === null, state === "ok");
  });
}

Deno.test("a daemon that its command starts is not missing; a soft device need no kernel", async () => {
  const board = new Board();
  board.answer = "";
  board.files.clear();
  const device = '[[device]]\nclass = "can"\nsocket = "/run/can"\ncommand = "can"\n';
  const findings = await found(board, `${device}loopback = "soft:/there"\n`);
  assertEquals(trouble(findings), [["back-end of can", "note"]]);
  assertEquals(findings.at(-1)!.todo, null, "nothing has to be done");
  assertEquals(trouble(await found(board, `${device}loopback = "soft:/gone"\n`)), [
    ["soft:/gone", "missing"],
    ["back-end of can", "note"],
  ]);
});

Deno.test("without a scene the nodes are looked at", async () => {
  const board = new Board();
  assertEquals((await examine(board, null)).map(({ what }) => what), [
    "/dev/loopback-237",
    "/proc/iomem",
  ]);
  board.folders.set("/dev", ["null"]);
  assertEquals(trouble(await examine(board, null)), [["kernel side", "missing"]]);
});
