// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's thread: a session with one device, its calls served one after another, interrupts handled in between.
 *
 * @module
 */
import { Epoll, EPOLLIN, reportToOwner, serveBlocking } from "../../ffi/mod.ts";
import { SoftGuestPort, type SoftWires } from "../loopback/soft.ts";
import type { GuestKind } from "./mod.ts";
import { Progress } from "./progress.ts";
import { EntropySession, type Patience, SoundSession } from "./session.ts";
import type { CaptureOptions, PlayOptions } from "./transfer.ts";

/** What the owner hands over. */
export interface GuestInit extends Patience {
  kind: GuestKind;
  wires: SoftWires;
  name: string;
  shared: SharedArrayBuffer;
  accessTimeoutMs: number;
}

const INTERRUPT_KEY = 1;

serveBlocking((init: GuestInit) => {
  const port = new SoftGuestPort(init.wires, init.accessTimeoutMs);
  const progress = new Progress(init.shared);
  const { session, handlers } = init.kind === "sound"
    ? serveSound(new SoundSession(port, init.name, init, progress))
    : serveEntropy(new EntropySession(port, init.name, init, progress));
  const epoll = Epoll.create();
  epoll.add(init.wires.interrupt, EPOLLIN, INTERRUPT_KEY);
  return {
    epoll,
    handlers: {
      ...handlers,
      unbind: () => session.unbind(),
      reset: () => session.reset(),
      measureAccess: (rounds: number) => session.measureAccess(rounds),
    },
    turn() {
      try {
        session.onInterrupt();
      } catch (error) {
        reportToOwner((error as Error).message);
      }
    },
    close() {
      epoll.close();
      port.close();
    },
  };
});

function serveSound(session: SoundSession) {
  return {
    session,
    handlers: {
      probe: (timeoutMs: number) => ({ ...session.probe(timeoutMs), ...session.info }),
      play: (options: PlayOptions) => session.play(options),
      capture: (options: CaptureOptions) => session.capture(options),
    },
  };
}

function serveEntropy(session: EntropySession) {
  return {
    session,
    handlers: {
      probe: (timeoutMs: number) => session.probe(timeoutMs),
      readEntropy: (count: number) => session.readEntropy(count),
      measureRequests: (rounds: number) => session.measureRequests(rounds),
    },
  };
}
