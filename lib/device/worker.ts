// SPDX-License-Identifier: Apache-2.0
/**
 * The Worker that a device lives in: one loop for its socket, its rings and its clock.
 *
 * @module
 */
import { monotonicNs, serveBlocking, Watches } from "../../ffi/mod.ts";
import { BackEndServer } from "../vhost_user/back_end.ts";
import { TimerClock } from "./clock.ts";
import { Commands } from "./command.ts";
import { RngDevice } from "../classes/rng/device.ts";
import { SoundDevice } from "../classes/sound/device.ts";
import { DEFAULT_GRACE_MS, type DeviceContract, type DeviceEvent } from "../classes/sound/spec.ts";

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

serveBlocking<DeviceContract>((spec, report) => {
  using parts = new DisposableStack();
  const watches = parts.use(new Watches());
  const clock = parts.use(new TimerClock(watches));
  const onEvent = limited(report);
  const commands = parts.use(
    new Commands(watches, {
      clock: parts.use(new TimerClock(watches)),
      graceMs: spec.class === "sound" ? spec.graceMs ?? DEFAULT_GRACE_MS : 0,
      onKilled: (text) => onEvent({ kind: "error", text }),
    }),
  );
  const sound = spec.class === "sound" ? new SoundDevice(spec, { clock, commands, onEvent }) : null;
  const device = sound ?? new RngDevice(clock);
  const server = parts.use(new BackEndServer(watches, spec.socket, device, { onEvent }));
  const all = parts.move();
  return {
    epoll: watches.epoll,
    turn: (n) => watches.dispatch(n),
    handlers: {
      setJack: (id, connected) => {
        if (sound === null) throw new RangeError(`Cannot plug jack ${id}: ${spec.class} has none`);
        sound.setJack(id, connected);
      },
      finish: () => {
        server.close();
        const { finishing } = commands;
        commands.onIdle = () => report({ kind: "finished" });
        if (finishing.length === 0) return commands.onIdle();
        const names = finishing.map((text) => `"${text}"`).join(", ");
        onEvent({ kind: "notice", text: `Waiting for ${names} to finish` });
      },
    },
    close: () => all.dispose(),
  };
});
