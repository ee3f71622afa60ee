// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import type {
  Action,
  Done,
  Event,
  JobName,
  Problem,
  Rules,
  Timer,
} from "../../lib/bridge/states.ts";
import {
  after,
  COMMON,
  createWorld,
  done,
  goOn,
  phaseOf,
  problem,
  type World,
} from "./machine_world.ts";

export const KICK_OFF = { on: "driver", needsReset: false } as const;

/** A device that things happen to. */
export class Scene {
  #world: World;
  /** What was done since it was last asked. */
  #actions: Action[] = [];

  constructor(rules: Partial<Rules> = {}, lives = Infinity) {
    this.#world = createWorld(rules, lives);
    this.#actions = [...this.#world.actions];
  }

  get world(): World {
    return this.#world;
  }

  get phase(): string {
    return phaseOf(this.#world);
  }

  happens(event: Event): this {
    this.#world = after(this.#world, event);
    this.#actions.push(...this.#world.actions);
    return this;
  }

  /** Jobs end well, one after the other. */
  ends(...jobs: JobName[]): this {
    for (const job of jobs) {
      assertEquals(this.#world.state.job, job);
      this.happens(done(this.#world));
    }
    return this;
  }

  endsWith(job: JobName, result: Done["result"]): this {
    assertEquals(this.#world.state.job, job);
    return this.happens({ on: "done", job, result } as Event);
  }

  fails(job: JobName, fault: Problem["fault"] = "lost", text: string = fault): this {
    assertEquals(this.#world.state.job, job);
    return this.happens({ on: "failed", job, problem: problem(fault, text) });
  }

  expires(timer: Timer): this {
    assert(this.#world.timers.includes(timer), `no timer ${timer}`);
    return this.happens({ on: "timer", timer });
  }

  /** The driver says DRIVER_OK. */
  driverOk(features = COMMON): this {
    const { epoch } = this.#world;
    return this.happens({
      ...KICK_OFF,
      driver: { epoch, isReady: true, features },
      held: "DRIVER_OK",
    });
  }

  /** The driver resets the device. */
  reset(held: "reset" | null = null): this {
    const epoch = this.#world.epoch + 1;
    return this.happens({ ...KICK_OFF, driver: { epoch, isReady: false, features: 0n }, held });
  }

  /** Goes on until a back-end serves the driver. */
  runs(): this {
    this.#world = goOn(this.#world, (w) => phaseOf(w) === "running" && w.state.job === null);
    this.#actions = [];
    return this;
  }

  /** The size of flat rings in the last "activate". */
  get flatSize(): number | undefined {
    const activate = this.#world.actions.find((action) => action.do === "activate");
    return activate?.do === "activate" ? activate.flatSize : undefined;
  }

  /** What was done since this was last asked, a line each. */
  did(): string[] {
    return this.#actions.splice(0).map(lineOf);
  }
}

export function lineOf(action: Action): string {
  switch (action.do) {
    case "report":
      return `${action.kind}: ${action.text}`;
    case "set timer":
      return `timer ${action.timer} ${action.ms}`;
    case "clear timer":
      return `no timer ${action.timer}`;
    case "release":
      return `release ${action.held}`;
    case "count":
      return `count ${action.counter}`;
    case "publish config":
      return `publish config, interrupt ${action.interrupt}`;
    default:
      return action.do;
  }
}
