// SPDX-License-Identifier: Apache-2.0
/**
 * `viola doctor`: what is there for viola, and what is missing. It opens no node of AGL's driver.
 *
 * @module
 */
import type { Command } from "commander";
import { loadSceneClasses, type Scene, type SceneDevice } from "../lib/scene/mod.ts";
import { examine, type Finding, type System } from "./doctor_checks.ts";
import { Failure, load, UNREACHABLE } from "./exit.ts";
import { counted, Report } from "./report.ts";
import { readSceneFile } from "./scene_file.ts";

/** How long a back-end may take to say what it is, in milliseconds. */
const ANSWER_MS = 3000;

const HELP = `
Each line says what is there (ok), what may matter (note), or what is missing and what to
do. With a scene FILE (see viola up) it looks at what that needs; its back-ends are asked
what they are, so those that serve somebody else answer nobody. No node of AGL's driver is
opened. The exit status is 0 when nothing is missing, else 2.`;

/** Adds the subcommand. */
export function addDoctor(program: Command): void {
  program.command("doctor")
    .description("Tell what is there for viola, and what is missing.")
    .argument("[file]", "the scene that shall run; or a folder, as for viola up")
    .option("--json", "report as one JSON object")
    .addHelpText("after", HELP)
    .action(runDoctor);
}

async function runDoctor(path: string | undefined, options: { json?: boolean }): Promise<void> {
  const report = new Report(options.json === true);
  const scene: Scene | null = path === undefined
    ? null
    : await readSceneFile(path, await loadSceneClasses());
  const system = await realSystem();
  const findings = await examine(system, scene);
  const bad = findings.filter(({ state }) => state === "missing").length;
  report.result({ event: "doctor", ok: bad === 0, findings }, findings.flatMap(lines));
  if (bad > 0) throw new Failure(UNREACHABLE, `Cannot work yet: ${counted(bad, "thing")} missing`);
}

function lines({ what, state, text, todo }: Finding): string[] {
  const first = `${state.padEnd(8)} ${what}: ${text}`;
  return todo === null ? [first] : [first, `${" ".repeat(9)}fix: ${todo}`];
}

async function realSystem(): Promise<System> {
  const { readSystemFile, listSystemFolder, Reactor } = await load(() => import("../ffi/mod.ts"));
  const { checkAglNode, checkSoftNode, nodeUse, parseIomem } = await load(() =>
    import("../lib/loopback/mod.ts")
  );
  const { FrontEnd } = await load(() => import("../lib/vhost_user/mod.ts"));
  return {
    read: readSystemFile,
    list: (path) => {
      try {
        return listSystemFolder(path);
      } catch {
        return [];
      }
    },
    env: (name) => Deno.env.get(name),
    nodeUse: (path) => {
      checkAglNode(path);
      return nodeUse(path);
    },
    checkSoft: checkSoftNode,
    ramRanges: parseIomem,
    askBackEnd: async ({ name, attachment }: SceneDevice, socket) => {
      await using reactor = new Reactor();
      const { class: deviceClass } = attachment;
      const options = { reactor, name, deviceClass, deadlineMs: ANSWER_MS };
      using frontEnd = await FrontEnd.connect(socket, options);
      const { queueCount, config } = await frontEnd.initialise();
      return `${socket} answers: ${counted(queueCount, "queue")}, ${config.length} bytes of config`;
    },
  };
}
