// SPDX-License-Identifier: Apache-2.0
/**
 * One device on the main isolate: its state machine, its kernel side and its back-end side.
 *
 * @module
 */
import { limitEvents } from "../virtio/event_limit.ts";
import { DEVICE_COUNTERS, namedCounters, QUEUE_COUNTERS } from "../virtio/state.ts";
import type { DeviceSetup } from "./device_setup.ts";
import { ownFeatures, type PresentedDevice } from "./presented.ts";
import { RegisterSide } from "./register_side.ts";
import { IsolateTimers, problemFrom, Runner } from "./runner.ts";
import type { ReportKind, Rules } from "./states.ts";
import { VhostUserSide } from "./vhost_user_side.ts";
import { checkMsOf } from "./watchdog.ts";

/** One bridged device. */
export class BridgedDevice {
  /** As in events. */
  readonly name: string;
  /** Settles when the device has ended: resolves after {@linkcode close}, rejects after a failure it cannot recover from. */
  readonly done: Promise<void>;
  readonly #kernel: RegisterSide;
  readonly #runner: Runner;

  /** Begins to serve it. */
  constructor(options: DeviceSetup) {
    const onEvent = limitEvents(options.onEvent, () => performance.now(), options.eventRate);
    const setup = { ...options, onEvent };
    this.name = setup.name;
    this.#runner = new Runner(rulesOf(setup));
    this.done = this.#runner.done;
    const { dispatch } = this.#runner;
    const report = (kind: ReportKind, text: string): void => {
      onEvent({ device: setup.name, kind, text, ms: performance.now() });
    };
    this.#kernel = new RegisterSide(setup, {
      driver: (driver, needsReset, held) => dispatch({ on: "driver", driver, needsReset, held }),
      configWritten: (write, isHeld) => dispatch({ on: "config written", write, isHeld }),
      kicked: () => dispatch({ on: "kicked" }),
      badAccess: (text) => dispatch({ on: "bad access", text }),
      problem: (text) => report("error", text),
    }, {
      ring: dispatch,
      failed: (error) => dispatch({ on: "lane failed", problem: problemFrom(error) }),
    });
    const backEnd = new VhostUserSide({ setup, presented: () => this.#device, dispatch });
    const timers = new IsolateTimers();
    this.#runner.start({ kernel: this.#kernel, backEnd, timers, report });
  }

  get #device(): PresentedDevice {
    const { presented } = this.#kernel;
    if (presented !== null) return presented;
    throw new TypeError(`Cannot serve ${this.name}: it is not presented to a driver`);
  }

  /** Counters by name, of the device and of each queue; null before the driver can see the device. */
  counters(): Record<string, unknown> | null {
    const { presented } = this.#kernel;
    if (presented === null) return null;
    const { state, lane } = presented;
    return {
      device: this.name,
      status: state.status,
      ...namedCounters(DEVICE_COUNTERS, state.counters),
      queues: state.queues.map((queue, i) => ({
        queue: lane.queues[i]!.name,
        inFlight: queue.headsInFlight().length,
        ...namedCounters(QUEUE_COUNTERS, queue.counters),
      })),
    };
  }

  /** Ends the device: stops the back-end in order, closes the loopback device and frees everything. */
  async close(): Promise<void> {
    this.#runner.dispatch({ on: "close" });
    await this.done.catch(() => {});
  }
}

/** The settings that stay the same for the device's life. */
function rulesOf(setup: DeviceSetup): Rules {
  const { name, socket, loopback: node, memory, deviceClass, patience, store } = setup;
  return {
    name,
    socket,
    node,
    memory,
    isKept: store !== null,
    config: deviceClass.config.access,
    ownFeatures: ownFeatures(memory),
    replyMs: patience.replyMs,
    replayMs: Math.min(patience.streamMs, patience.requestMs),
    checkMs: checkMsOf(patience),
  };
}
