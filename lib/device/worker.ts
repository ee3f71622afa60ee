// SPDX-License-Identifier: Apache-2.0
/**
 * The Worker of an embedded device: one event loop for its socket, its rings and its clock.
 *
 * @module
 */
import { monotonicNs, serveBlocking, TimerClock, Watches } from "../../ffi/mod.ts";
import { loadRoleOf } from "../virtio/device_class.ts";
import { limitEvents } from "../virtio/event_limit.ts";
import { BackEndServer } from "../vhost_user/back_end.ts";
import { Commands } from "./command.ts";
import { controlPath } from "./control_server.ts";
import { EmbeddedDevice } from "./embedded_device.ts";
import type { DeviceEvent, DeviceRole } from "./role.ts";

/** The contract between the Worker and its owner, the same for every class. */
export interface EmbeddedContract {
  init: {
    /** URL of the class's role. */
    readonly role: string;
    /** The class's virtio device id. */
    readonly deviceId: number;
    /** The path to listen at. */
    readonly socket: string;
    /** The class's options. */
    readonly spec: object;
  };
  calls: {
    /** Makes a call that the device's class defines. */
    call(name: string, args: readonly unknown[]): unknown;
    /** Stops serving: closes the socket and all files. Commands may finish. */
    finish(): void;
  };
  /** `finished`: every command has ended. */
  event: DeviceEvent | { readonly finished: true };
}

serveBlocking<EmbeddedContract>(async (init, report) => {
  const { spec, socket } = init;
  const role = await loadRoleOf<DeviceRole>(init, "device");
  role.check(spec);
  using parts = new DisposableStack();
  const watches = parts.use(new Watches());
  const clock = parts.use(new TimerClock(watches));
  const onEvent = limitEvents<DeviceEvent>(report, () => monotonicNs() / 1e6);
  const commands = parts.use(
    new Commands(watches, {
      clock: parts.use(new TimerClock(watches)),
      graceMs: role.graceMs?.(spec) ?? 0,
      onKilled: (text) => onEvent({ kind: "error", text }),
    }),
  );
  const configChanged = (): void => server.configChanged();
  const around = {
    clock,
    watches,
    commands,
    controlPath: controlPath(socket),
    report: onEvent,
    configChanged,
  };
  const device = parts.use(new EmbeddedDevice(role, spec, around));
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
