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
import type { DeviceContract, DeviceEvent } from "../classes/sound/spec.ts";

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
  const commands = parts.use(new Commands(watches));
  const onEvent = limited(report);
  const sound = spec.class === "sound" ? new SoundDevice(spec, { clock, commands, onEvent }) : null;
  const device = sound ?? new RngDevice(clock);
  parts.use(new BackEndServer(watches, spec.socket, device, { onEvent }));
  // Taken apart from here backwards: the server has the device close its files, then commands get time to finish.
  const all = parts.move();
  return {
    epoll: watches.epoll,
    turn: (n) => watches.dispatch(n),
    handlers: {
      setJack: (id, connected) => {
        if (sound === null) throw new RangeError(`Cannot plug jack ${id}: ${spec.class} has none`);
        sound.setJack(id, connected);
      },
    },
    close: () => all.dispose(),
  };
});
