// SPDX-License-Identifier: Apache-2.0
/**
 * What a controller has open while it is started: its bus, and the logs that are read and written beside it.
 *
 * @module
 */
import type { Bus, BusEvents, BusSpec } from "./bus.ts";
import { LogSink } from "./log_sink.ts";
import { LogSource } from "./log_source.ts";
import type { CanSpec } from "./spec.ts";

/** See the module. */
export interface Connection extends Disposable {
  readonly bus: Bus;
  /** Frames that are received besides those of the bus. */
  readonly logIn: LogSource | null;
  /** The log of all frames sent and received. */
  readonly logOut: LogSink | null;
}

/** Where a controller gets its connection. */
export class Connector {
  constructor(readonly bus: BusSpec, readonly spec: CanSpec) {}

  /** The name of the bus. */
  get name(): string {
    return this.bus.name;
  }

  /**
   * Connects a controller.
   *
   * @param now Nanoseconds
   * @throws {Error} when the bus or a log cannot be used
   */
  connect(events: BusEvents, now: number): Connection {
    const { logIn: pathIn, logOut: pathOut, pace } = this.spec;
    using made = new DisposableStack();
    const logOut = pathOut === undefined ? null : made.use(new LogSink(pathOut, this.name, events));
    const logIn = pathIn === undefined
      ? null
      : made.use(new LogSource(pathIn, events, pace !== "free", now));
    const bus = made.use(this.bus.connect(events));
    const all = made.move();
    return { bus, logIn, logOut, [Symbol.dispose]: () => all.dispose() };
  }
}
