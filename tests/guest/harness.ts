// SPDX-License-Identifier: Apache-2.0
/** Sessions over a {@linkcode LocalPort}, and temporary folders. */
import { driver as rngDriver, type RngDriverContract } from "../../lib/classes/rng/driver.ts";
import {
  type CardInfo,
  driver as soundDriver,
  type SoundDriverContract,
} from "../../lib/classes/sound/driver.ts";
import type {
  CaptureOptions,
  PlayOptions,
  TransferResult,
} from "../../lib/classes/sound/transfer.ts";
import { Progress } from "../../lib/guest/progress.ts";
import type { DriverContract, Patience } from "../../lib/guest/role.ts";
import { DriverSession } from "../../lib/guest/session.ts";
import type { FakeOptions } from "./fake_device.ts";
import { LocalPort } from "./local_port.ts";

/** Device and driver take turns on one thread: what they wait for is there at once, unless that thread has to wait. */
const PATIENCE: Patience = { controlTimeoutMs: 250, stallTimeoutMs: 250 };

export interface Bench<C extends DriverContract, S extends DriverSession<C>> {
  port: LocalPort;
  progress: Progress<C["progress"]>;
  session: S;
}

/** A session whose calls are called as its owner would. */
export class SoundSession extends DriverSession<SoundDriverContract> {
  get info(): CardInfo {
    return this.driver.found;
  }

  play(options: PlayOptions): TransferResult {
    return this.call("play", [options]) as TransferResult;
  }

  capture(options: CaptureOptions): TransferResult {
    return this.call("capture", [options]) as TransferResult;
  }
}

/** The same, of entropy. */
export class EntropySession extends DriverSession<RngDriverContract> {
  readEntropy(count: number): Uint8Array {
    return this.call("readEntropy", [count]) as Uint8Array;
  }

  measureRequests(rounds: number): Float64Array {
    return this.call("measureRequests", [rounds]) as Float64Array;
  }
}

export function soundBench(
  options: Partial<FakeOptions> = {},
  memorySize?: number,
): Bench<SoundDriverContract, SoundSession> {
  const port = new LocalPort({ kind: "sound", mmioVersion: 2, ...options }, memorySize);
  const progress = new Progress(soundDriver.progress);
  const session = new SoundSession(soundDriver, port, "card0", PATIENCE, progress);
  return { port, progress, session };
}

export function entropyBench(
  options: Partial<FakeOptions> = {},
): Bench<RngDriverContract, EntropySession> {
  const port = new LocalPort({ kind: "rng", mmioVersion: 2, ...options });
  const progress = new Progress(rngDriver.progress);
  const session = new EntropySession(rngDriver, port, "rng0", PATIENCE, progress);
  return { port, progress, session };
}

/** Runs a test with a folder of its own. */
export async function withFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "viola-guest-" });
  try {
    await body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
