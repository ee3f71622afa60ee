// SPDX-License-Identifier: Apache-2.0
/** Sessions over a {@linkcode LocalPort}, and temporary folders. */
import { Progress } from "../../lib/guest/progress.ts";
import { EntropySession, type Patience, SoundSession } from "../../lib/guest/session.ts";
import type { FakeOptions } from "./fake_device.ts";
import { LocalPort } from "./local_port.ts";

/** Device and driver take turns on one thread: what they wait for is there at once, unless that thread has to wait. */
const PATIENCE: Patience = { controlTimeoutMs: 250, stallTimeoutMs: 250 };

export interface Bench<Session> {
  port: LocalPort;
  progress: Progress;
  session: Session;
}

export function soundBench(
  options: Partial<FakeOptions> = {},
  memorySize?: number,
): Bench<SoundSession> {
  const port = new LocalPort({ kind: "sound", mmioVersion: 2, ...options }, memorySize);
  const progress = new Progress();
  return { port, progress, session: new SoundSession(port, "card0", PATIENCE, progress) };
}

export function entropyBench(options: Partial<FakeOptions> = {}): Bench<EntropySession> {
  const port = new LocalPort({ kind: "rng", mmioVersion: 2, ...options });
  const progress = new Progress();
  return { port, progress, session: new EntropySession(port, "rng0", PATIENCE, progress) };
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
