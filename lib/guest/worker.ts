// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's thread: one device, calls served one after another, interrupts handled in between.
 *
 * @module
 */
import { Epoll, EPOLLET, EPOLLIN, serveBlocking } from "../../ffi/mod.ts";
import { loadRoleOf } from "../virtio/device_class.ts";
import { SoftGuestPort, type SoftWires } from "../loopback/soft.ts";
import { Progress, type ProgressLayout } from "./progress.ts";
import type { DriverRole, Patience } from "./role.ts";
import { DriverSession, type ProbeResult } from "./session.ts";

/** What the owner passes to the Worker. */
export interface GuestInit extends Patience {
  /** URL of the class's role. */
  role: string;
  /** The class's virtio device id. */
  deviceId: number;
  wires: SoftWires;
  name: string;
  shared: SharedArrayBuffer;
  accessTimeoutMs: number;
}

/** Calls to the guests of all classes. */
export interface GuestContract {
  init: GuestInit;
  calls: {
    /** The layout of the driver's progress values. */
    layout(): ProgressLayout;
    /** The class's driver may add to the result. */
    probe(timeoutMs: number): ProbeResult;
    /** Makes a call that the driver's class defines. */
    call(name: string, args: readonly unknown[]): unknown;
    exercise(): void;
    unbind(): void;
    reset(): void;
    measureAccess(rounds: number): Float64Array<ArrayBuffer>;
  };
  /** An error that happened outside any call. */
  event: string;
}

const INTERRUPT_KEY = 1;

serveBlocking<GuestContract>(async (init, report) => {
  const { wires, name, shared, accessTimeoutMs } = init;
  const role = await loadRoleOf<DriverRole>(init, "driver");
  const port = new SoftGuestPort(wires, accessTimeoutMs);
  const session = new DriverSession(role, port, name, init, new Progress(role.progress, shared));
  const epoll = Epoll.create();
  epoll.add(wires.interrupt, EPOLLIN | EPOLLET, INTERRUPT_KEY);
  return {
    epoll,
    handlers: {
      layout: () => role.progress,
      probe: (timeoutMs) => session.probe(timeoutMs),
      call: (call, args) => session.call(call, args),
      exercise: () => session.driver.exercise(),
      unbind: () => session.unbind(),
      reset: () => session.reset(),
      measureAccess: (rounds) => session.measureAccess(rounds),
    },
    turn() {
      try {
        session.onInterrupt();
      } catch (error) {
        report((error as Error).message);
      }
    },
    close() {
      epoll.close();
      port.close();
    },
  };
});
