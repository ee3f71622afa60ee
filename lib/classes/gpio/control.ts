// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket of simulated lines: their other end is a program.
 *
 * A request is an object with one key. Lines are called by name, or by number.
 *
 * - `{"get": ["BUTTON", "3"]}`, all lines for `[]`; the reply is `{"lines": […]}`, a {@linkcode LineState} each
 * - `{"set": ["BUTTON", 1]}`; the reply, `{"line": …, "taken": true}`, comes when the driver has handled the interrupt that this
 *   was, and unmasked it again; or after {@linkcode PATIENCE_NS}, with `"taken": false`
 * - `{"watch": ["BUTTON"]}`; the reply is as that to `get`, then each change of these lines is told: `{"changed": …}`
 *
 * @module
 */
import type { ControlClient, ControlHandler } from "../../device/control_server.ts";
import type { Level } from "./lines.ts";
import type { LineState, SimulatedLines } from "./simulated.ts";

/** How long a client waits for the driver, in nanoseconds. */
const PATIENCE_NS = 1e9;

/** A client that has set a line. */
interface Waiting {
  readonly client: ControlClient;
  readonly line: number;
  readonly until: number;
}

/** What is asked by the control socket. */
export class LineControl implements ControlHandler {
  /** Lines that each client watches. */
  readonly #watched = new Map<ControlClient, ReadonlySet<number>>();
  readonly #waiting = new Map<ControlClient, Waiting>();

  /**
   * @param isTaken Whether the driver has no interrupt of a line before it
   * @param now The time in nanoseconds
   */
  constructor(
    readonly lines: SimulatedLines,
    readonly isTaken: (line: number) => boolean,
    readonly now: () => number,
  ) {
    lines.onChange = (state) => this.#changed(state);
  }

  request(request: unknown, client: ControlClient): void {
    const [verb, argument] = isObject(request) ? Object.entries(request)[0] ?? [] : [];
    if (!Array.isArray(argument)) throw new Error(UNKNOWN);
    if (verb === "get") return client.reply(this.#states(this.#numbers(argument)));
    if (verb === "watch") return this.#watch(client, this.#numbers(argument));
    if (verb === "set") return this.#set(client, argument);
    throw new Error(UNKNOWN);
  }

  #numbers(names: readonly unknown[]): readonly number[] {
    if (names.length === 0) return this.lines.names.map((_, line) => line);
    return names.map((name) => this.#number(name));
  }

  /** @throws {Error} when there is no such line */
  #number(name: unknown): number {
    const { names } = this.lines;
    const line = name === "" ? -1 : names.indexOf(name as string);
    if (line >= 0) return line;
    if (/^\d{1,5}$/.test(`${name}`) && Number(name) < names.length) return Number(name);
    const some = names.filter((one) => one !== "").slice(0, 16).map((one) => `"${one}"`).join(", ");
    throw new Error(
      `Cannot use line ${JSON.stringify(name)}: expected ${some === "" ? "" : `${some} or `}` +
        `a number from 0 to ${names.length - 1}`,
    );
  }

  #states(numbers: readonly number[]): { lines: LineState[] } {
    return { lines: numbers.map((line) => this.lines.state(line)) };
  }

  #watch(client: ControlClient, numbers: readonly number[]): void {
    this.#watched.set(client, new Set(numbers));
    client.reply(this.#states(numbers));
  }

  #set(client: ControlClient, [name, level]: readonly unknown[]): void {
    const line = this.#number(name);
    if (level !== 0 && level !== 1) {
      throw new Error(`Cannot set a line to ${JSON.stringify(level)}: expected 0 or 1`);
    }
    this.lines.drive(line, level satisfies Level);
    this.#waiting.set(client, { client, line, until: this.now() + PATIENCE_NS });
    this.tick();
  }

  #changed(state: LineState): void {
    for (const [client, lines] of this.#watched) {
      if (lines.has(state.line)) client.tell({ changed: state });
    }
  }

  /** Answers clients whose interrupt was handled, or who have waited long enough. */
  tick(): void {
    for (const { client, line, until } of [...this.#waiting.values()]) {
      const taken = this.isTaken(line);
      if (!taken && this.now() < until) continue;
      this.#waiting.delete(client);
      client.reply({ line: this.lines.state(line), taken });
    }
  }

  /** When somebody has waited long enough, in nanoseconds. */
  get deadline(): number {
    return Math.min(Infinity, ...[...this.#waiting.values()].map(({ until }) => until));
  }

  gone(client: ControlClient): void {
    this.#watched.delete(client);
    this.#waiting.delete(client);
  }
}

const UNKNOWN = 'Cannot understand a request: expected {"get": […]}, {"set": [line, level]} or ' +
  '{"watch": […]}';

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
