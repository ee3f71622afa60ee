// SPDX-License-Identifier: Apache-2.0
// The runner, with ports that are none: what a state machine says is done, and what comes of it is told.
import { assertEquals, assertRejects } from "@std/assert";
import { IsolateTimers, type Ports, problemFrom, Runner } from "../../lib/bridge/runner.ts";
import type { Timer } from "../../lib/bridge/states.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { COMMON, RULES } from "./machine_world.ts";

/** Ports that write down what is asked of them. Any call may be made to fail. */
class FakePorts {
  readonly log: string[] = [];
  readonly reports: string[] = [];
  readonly timers = new Map<Timer, () => void>();
  /** By name of the call: what it fails with, or a promise that it waits for. */
  readonly faults = new Map<string, unknown>();
  readonly results: Record<string, unknown> = {
    restore: null,
    connect: {
      features: COMMON,
      queueCount: 4,
      config: new Uint8Array(4),
      tracksInflight: true,
    },
    present: { configSize: 4, backEndLives: Infinity, mappings: "" },
    activate: true,
    check: { kind: "well" },
    readConfig: new Uint8Array(4),
    resetDevice: "reset",
    publishConfig: true,
    free: null,
  };

  /** @returns an object each of whose methods is this */
  #side(): never {
    const call = (name: string) => (): unknown => {
      this.log.push(name);
      const fault = this.faults.get(name);
      if (fault instanceof Error) throw fault;
      if (fault !== undefined) return fault;
      return this.results[name];
    };
    return new Proxy({}, { get: (_, name) => call(String(name)) }) as never;
  }

  get ports(): Ports {
    return {
      kernel: this.#side(),
      backEnd: this.#side(),
      timers: {
        set: (timer, _ms, expired) => this.timers.set(timer, expired),
        clear: (timer) => this.timers.delete(timer),
      },
      report: (kind, text) => this.reports.push(`${kind}: ${text}`),
    };
  }
}

/** Lets everything settle that waits for nothing. */
async function settled(): Promise<void> {
  for (let i = 0; i < 100; i++) await Promise.resolve();
}

const READY = { epoch: 0, isReady: true, features: COMMON };

async function running(fake: FakePorts): Promise<Runner> {
  const runner = new Runner(RULES);
  runner.start(fake.ports);
  await settled();
  assertEquals(runner.state.phase.at, "waiting");
  runner.dispatch({ on: "driver", driver: READY, needsReset: false, held: "DRIVER_OK" });
  await settled();
  runner.dispatch({ on: "replayed" });
  await settled();
  runner.dispatch({ on: "live", resubmitted: 0, replayed: 0 });
  assertEquals(runner.state.phase.at, "running");
  return runner;
}

Deno.test("the machine's actions are carried out in order, until the end", async () => {
  const fake = new FakePorts();
  const runner = await running(fake);
  runner.dispatch({ on: "close" });
  await runner.done;
  assertEquals(fake.log, [
    ...["restore", "connect", "prepare", "present", "listen", "announce"],
    ...["setBackEndConnected", "expectDriver", "count", "activate"],
    ...["resume", "count", "release", "stop", "detach", "close", "free", "setBackEndConnected"],
  ]);
  assertEquals(fake.timers.size, 0);
  runner.dispatch({ on: "close" }); // whatever comes after the end is nothing to anybody
  assertEquals(runner.state.phase.at, "closed");
});

Deno.test("a job that fails is reported with its error, which ends the device", async () => {
  const fake = new FakePorts();
  const fault = new Error("no such node");
  fake.faults.set("present", fault);
  const runner = new Runner(RULES);
  runner.start(fake.ports);
  assertEquals(await assertRejects(() => runner.done), fault);
  assertEquals(runner.state.phase.at, "failed");
});

Deno.test("events during a job are handled in order", async () => {
  const fake = new FakePorts();
  const connected = Promise.withResolvers<void>();
  fake.faults.set("connect", connected.promise);
  const runner = new Runner(RULES);
  runner.start(fake.ports);
  await settled();
  runner.dispatch({ on: "close" });
  assertEquals(fake.log.at(-1), "abort");
  connected.reject(new Error("aborted"));
  await runner.done;
});

Deno.test("timers are events; a changed config space raises an interrupt", async () => {
  const fake = new FakePorts();
  const runner = await running(fake);
  const check = fake.timers.get("check")!;
  fake.log.length = 0;
  check();
  await settled();
  runner.dispatch({ on: "config changed" });
  await settled();
  assertEquals(fake.log, ["check", "readConfig", "publishConfig", "configInterrupt"]);
  runner.dispatch({ on: "back-end lost", problem: problemFrom(new Error("gone")) });
  await settled();
  fake.results["publishConfig"] = false;
  fake.log.length = 0;
  fake.timers.get("retry")!();
  await settled();
  assertEquals(fake.log.slice(0, 3), ["connect", "publishConfig", "offer"]);
  assertEquals(fake.reports.at(-1), "connected: /run/card.sock accepted a new connection");
  runner.dispatch({ on: "close" });
  await runner.done;
});

Deno.test("a failed call to the lane ends the device", async () => {
  const fake = new FakePorts();
  const runner = await running(fake);
  fake.faults.set("needsReset", new Error("the Worker is dead"));
  runner.dispatch({ on: "driver error", text: "a lie", epoch: 0 });
  const error = await assertRejects(() => runner.done, Error);
  assertEquals(error.message, "the Worker is dead");
  assertEquals(fake.reports.at(-1), "error: the Worker is dead");
});

Deno.test("problemFrom() keeps the kinds of faults that the machine distinguishes", () => {
  const faults = ["late", "lost", "protocol", "refused", "unfit", "closed"] as const;
  const found = faults.map((fault) => problemFrom(new VhostUserError(fault, "x")).fault);
  assertEquals(found, ["late", "lost", "refused", "refused", "refused", "other"]);
  assertEquals(problemFrom("text").text, "text");
});

Deno.test("IsolateTimers: setting a timer again replaces it, and it can be cleared", async () => {
  const timers = new IsolateTimers();
  const expired: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  timers.set("retry", 0, () => expired.push("first"));
  timers.set("check", 0, () => expired.push("check"));
  timers.set("retry", 1, () => {
    expired.push("second");
    resolve();
  });
  timers.clear("check");
  timers.clear("stop");
  await promise;
  assertEquals(expired, ["second"]);
});
