// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's thread: a session with one device, its calls served one after another, interrupts handled in between.
 *
 * @module
 */
import {
  type BlockingService,
  Epoll,
  EPOLLIN,
  type Handlers,
  type Report,
  serveBlocking,
} from "../../ffi/mod.ts";
import { SoftGuestPort, type SoftWires } from "../loopback/soft.ts";
import type { GuestKind } from "./mod.ts";
import { Progress } from "./progress.ts";
import { EntropySession, type Patience, type ProbeResult, SoundSession } from "./session.ts";
import type { CardInfo } from "../classes/sound/driver.ts";
import type { CaptureOptions, PlayOptions, TransferResult } from "../classes/sound/transfer.ts";

/** What the owner hands over. */
export interface GuestInit extends Patience {
  kind: GuestKind;
  wires: SoftWires;
  name: string;
  shared: SharedArrayBuffer;
  accessTimeoutMs: number;
}

const INTERRUPT_KEY = 1;

/** What guests of all kinds can be asked. */
export interface GuestContract {
  init: GuestInit;
  calls: {
    unbind(): void;
    reset(): void;
    measureAccess(rounds: number): Float64Array<ArrayBuffer>;
  };
  /** What went wrong while nothing was asked. */
  event: string;
}

/** A guest with Linux's virtio_snd. */
export interface SoundGuestContract extends GuestContract {
  calls: GuestContract["calls"] & {
    probe(timeoutMs: number): ProbeResult & CardInfo;
    play(options: PlayOptions): TransferResult;
    capture(options: CaptureOptions): TransferResult;
  };
}

/** A guest with Linux's virtio_rng. */
export interface EntropyGuestContract extends GuestContract {
  calls: GuestContract["calls"] & {
    probe(timeoutMs: number): ProbeResult;
    readEntropy(count: number): Uint8Array<ArrayBuffer>;
    measureRequests(rounds: number): Float64Array<ArrayBuffer>;
  };
}

serveBlocking<SoundGuestContract | EntropyGuestContract>((init, report) => {
  const port = new SoftGuestPort(init.wires, init.accessTimeoutMs);
  const progress = new Progress(init.shared);
  return init.kind === "sound"
    ? serveSound(new SoundSession(port, init.name, init, progress), init, port, report)
    : serveEntropy(new EntropySession(port, init.name, init, progress), init, port, report);
});

function serveSound(
  session: SoundSession,
  ...rest: [GuestInit, SoftGuestPort, Report<string>]
): BlockingService<SoundGuestContract> {
  const service = serveSession(session, ...rest);
  const handlers: Handlers<SoundGuestContract> = {
    ...service.handlers,
    probe: (timeoutMs) => ({ ...session.probe(timeoutMs), ...session.info }),
    play: (options) => session.play(options),
    capture: (options) => session.capture(options),
  };
  return { ...service, handlers };
}

function serveEntropy(
  session: EntropySession,
  ...rest: [GuestInit, SoftGuestPort, Report<string>]
): BlockingService<EntropyGuestContract> {
  const service = serveSession(session, ...rest);
  const handlers: Handlers<EntropyGuestContract> = {
    ...service.handlers,
    probe: (timeoutMs) => session.probe(timeoutMs),
    readEntropy: (count) => session.readEntropy(count),
    measureRequests: (rounds) => session.measureRequests(rounds),
  };
  return { ...service, handlers };
}

/** What sessions with devices of all classes have in common. */
function serveSession(
  session: SoundSession | EntropySession,
  { wires }: GuestInit,
  port: SoftGuestPort,
  report: Report<string>,
): BlockingService<GuestContract> {
  const epoll = Epoll.create();
  epoll.add(wires.interrupt, EPOLLIN, INTERRUPT_KEY);
  return {
    epoll,
    handlers: {
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
}
