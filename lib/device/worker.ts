// SPDX-License-Identifier: Apache-2.0
/**
 * The Worker that an embedded device lives in: one loop for its socket, its rings and its clock.
 *
 * @module
 */
import { monotonicNs, serveBlocking, TimerClock, Watches } from "../../ffi/mod.ts";
import { loadRole } from "../virtio/device_class.ts";
import { BackEndServer } from "../vhost_user/back_end.ts";
import { Commands } from "./command.ts";
import { EmbeddedDevice } from "./embedded_device.ts";
import type { DeviceEvent, DeviceRole } from "./role.ts";

/** What the Worker and its owner agree on, whatever the class. */
export interface EmbeddedContract {
  init: {
    /** Where the class's role lies. */
    readonly role: string;
    /** The class's virtio device id. */
    readonly deviceId: number;
    /** The path to listen at. */
    readonly socket: string;
    /** As the class has it. */
    readonly spec: object;
  };
  calls: {
    /** Asks the device for something that its class knows. */
    call(name: string, args: readonly unknown[]): unknown;
    /** Serves nobody any more: closes the socket and all files. Commands may work on. */
    finish(): void;
  };
  /** `finished`: no command works any more. */
  event: DeviceEvent | { readonly finished: true };
}

/** Most events a second that go to the owner: a driver that misbehaves causes them at will. */
const MAX_EVENTS_PER_SECOND = 100;

/** Passes events on, up to so many a second; then says how many it kept. */
function limited(report: (event: DeviceEvent) => void): (event: DeviceEvent) => void {
  let second = 0;
  let count = 0;
  return (event) => {
    const now = Math.floor(monotonicNs() / 1e9);
    if (now !== second) {
      const kept = count - MAX_EVENTS_PER_SECOND;
      if (kept > 0) report({ kind: "error", text: `${kept} more events were not reported` });
      second = now;
      count = 0;
    }
    if (count++ < MAX_EVENTS_PER_SECOND) report(event);
  };
}

/** @throws {TypeError} when the role is another class's */
async function roleOf({ role: url, deviceId }: EmbeddedContract["init"]): Promise<DeviceRole> {
  const role = await loadRole<DeviceRole>(url, "device");
  const { id, name } = role.deviceClass;
  if (id === deviceId) return role;
  throw new TypeError(`Cannot use ${url}: it is a ${name} device (${id}), expected id ${deviceId}`);
}

serveBlocking<EmbeddedContract>(async (init, report) => {
  const { spec, socket } = init;
  const role = await roleOf(init);
  role.check(spec);
  using parts = new DisposableStack();
  const watches = parts.use(new Watches());
  const clock = parts.use(new TimerClock(watches));
  const onEvent = limited(report);
  const commands = parts.use(
    new Commands(watches, {
      clock: parts.use(new TimerClock(watches)),
      graceMs: role.graceMs?.(spec) ?? 0,
      onKilled: (text) => onEvent({ kind: "error", text }),
    }),
  );
  const configChanged = (): void => server.configChanged();
  const around = { clock, commands, report: onEvent, configChanged };
  const device = new EmbeddedDevice(role, spec, around);
  const server = parts.use(new BackEndServer(watches, socket, device, { onEvent }));
  const all = parts.move();
  return {
    epoll: watches.epoll,
    turn: (n) => watches.dispatch(n),
    handlers: {
      call: (name, args) => device.call(name, args),
      finish: () => {
        server.close();
        const { finishing } = commands;
        commands.onIdle = () => report({ finished: true });
        if (finishing.length === 0) return commands.onIdle();
        const names = finishing.map((text) => `"${text}"`).join(", ");
        onEvent({ kind: "notice", text: `Waiting for ${names} to finish` });
      },
    },
    close: () => all.dispose(),
  };
});
