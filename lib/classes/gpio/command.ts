// SPDX-License-Identifier: Apache-2.0
/**
 * `viola gpio`: the other end of simulated lines.
 *
 * @module
 */
import { Reactor } from "../../../ffi/mod.ts";
import type { CommandCall, CommandRole } from "../../device/command_role.ts";
import { ControlClient } from "../../device/control_client.ts";
import { controlPath } from "../../device/control_server.ts";
import { SpecError } from "../../device/role.ts";
import type { LineState } from "./simulated.ts";

/** How long the device may take to answer, in milliseconds; a line that is set is waited for up to a second. */
const ANSWER_MS = 10_000;

const HELP = `
A line is called by its name or its number. set drives lines one after the other, each when
the driver has handled the interrupt that the one before was, so that none is lost.
  viola gpio set --socket /run/gpio0 BUTTON=1 BUTTON=0
Lines of a chip of the host are not simulated: gpioget and gpiomon are for those.`;

/** Shows a line: "3 BUTTON in 1". */
function show({ show }: CommandCall, { line, name, direction, value }: LineState): void {
  const title = name === "" ? `${line}` : `${line} ${name}`;
  show({ event: "line", line, name, direction, value }, `${title} ${direction} ${value}`);
}

/** "BUTTON=1" as a name and a level. @throws {SpecError} */
function assignment(text: string): [name: string, level: number] {
  const [, name, level] = /^(.+)=([01])$/.exec(text) ?? [];
  if (level !== undefined) return [name!, Number(level)];
  throw new SpecError(`Cannot set "${text}": expected LINE=0 or LINE=1`);
}

async function get(call: CommandCall, client: ControlClient): Promise<void> {
  client.send({ get: call.args });
  const reply = await client.next(ANSWER_MS, call.signal);
  for (const state of (reply?.lines ?? []) as LineState[]) show(call, state);
}

async function set(call: CommandCall, client: ControlClient): Promise<void> {
  const assignments = call.args.map(assignment);
  for (const one of assignments) {
    client.send({ set: one });
    const reply = await client.next(ANSWER_MS, call.signal);
    if (reply === null) return;
    if (reply.taken === true) continue;
    const text = `${one[0]}: the driver has not handled its interrupt yet`;
    call.show({ event: "pending", line: one[0] }, text);
  }
}

async function watch(call: CommandCall, client: ControlClient): Promise<void> {
  client.send({ watch: call.args });
  for (;;) {
    const told = await client.next(Infinity, call.signal);
    if (told === null) return;
    for (const state of (told.lines ?? []) as LineState[]) show(call, state);
    if (told.changed !== undefined) show(call, told.changed as LineState);
    if (told.dropped === undefined) continue;
    call.show({ event: "dropped", changes: told.dropped }, `${told.dropped} changes were dropped`);
  }
}

const VERBS = { get, set, watch } as const;

/** `viola gpio`. */
export const command: CommandRole = {
  description: "See and drive the simulated lines of a running viola device gpio.",
  verbs: [
    {
      name: "get",
      arguments: "[line...]",
      description: "print number, name, direction and level of lines",
    },
    { name: "set", arguments: "<line=level...>", description: "drive lines from outside" },
    {
      name: "watch",
      arguments: "[line...]",
      description: "print lines, and again whenever they change",
    },
  ],
  help: HELP,
  run: async (call) => {
    await using reactor = new Reactor();
    using client = new ControlClient(controlPath(call.socket) ?? call.socket, reactor);
    await VERBS[call.verb as keyof typeof VERBS](call, client);
  },
};
