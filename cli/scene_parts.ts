// SPDX-License-Identifier: Apache-2.0
/**
 * What a scene is made of, as things that run: embedded devices, commands, and devices that are attached.
 *
 * @module
 */
import { Child, EPOLLIN, Reactor } from "../ffi/mod.ts";
import type { Bridge } from "../lib/bridge/mod.ts";
import type { DeviceEvent } from "../lib/device/mod.ts";
import type { SceneDevice } from "../lib/scene/mod.ts";
import type { SceneHost } from "../lib/scene/run.ts";
import type { Running } from "../lib/scene/supervised.ts";
import { load } from "./exit.ts";

/** How long a command may take to end after SIGTERM, in milliseconds; then it is killed. */
const GRACE_MS = 5000;
const SIGTERM = 15;

/**
 * The parts of a scene, but for the report.
 *
 * @param now Kills the commands of embedded devices that are still running at the end when it is aborted
 */
export async function partsOf(
  bridge: Bridge,
  stack: AsyncDisposableStack,
  now: AbortSignal,
  onEvent: (device: string, event: DeviceEvent) => void,
): Promise<Omit<SceneHost, "report">> {
  const { startDevice } = await load(() => import("../lib/device/mod.ts"));
  const reactor = stack.use(new Reactor());
  return {
    startOwn: async ({ name, attachment }, spec, socket) => {
      const { promise: ended, resolve } = Promise.withResolvers<string>();
      const device = await startDevice(attachment.class, { ...spec, socket }, {
        onEvent: (event) => onEvent(name, event as DeviceEvent),
        onFailure: (error) => resolve(error.message),
      });
      return { ended, stop: () => device.close(now) };
    },
    startCommand: ({ name }, command) => Promise.resolve(startCommand(reactor, name, command)),
    attach: (device, socket) => Promise.resolve(attach(bridge, device, socket)),
    addLane: (lane) => bridge.addLane(lane),
  };
}

function attach(bridge: Bridge, { attachment }: SceneDevice, socket: string): Running {
  const device = bridge.add({ ...attachment, socket });
  // Without an error it ends only when it is closed.
  const ended = device.done.then(() => "it has ended", (error: Error) => error.message);
  return { ended, stop: () => bridge.remove(device) };
}

/** Runs a command whose output goes to standard error, as all that is no report. */
function startCommand(reactor: Reactor, name: string, command: string): Running {
  const child = Child.spawn(`exec >&2\n${command}`, null, null);
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const watch = reactor.watch(child.fd.number, EPOLLIN, () => {
    watch.close();
    resolve(`the command of ${name} ended with status ${child.status()}`);
  });
  return {
    ended,
    stop: async () => {
      child.signal(SIGTERM);
      const timer = setTimeout(() => resolve(""), GRACE_MS);
      await ended;
      clearTimeout(timer);
      watch.close();
      child.close();
    },
  };
}
