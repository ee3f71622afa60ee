// SPDX-License-Identifier: Apache-2.0
/**
 * A driver that plays and records at once, on a thread of its own.
 *
 * @module
 */
import { BlockingWorker } from "../../../ffi/mod.ts";
import type { SoftWires } from "../../../lib/loopback/soft.ts";
import type { WavFormat } from "../../../lib/wav/mod.ts";

/** What is played, and where so many frames go that are recorded meanwhile. */
export interface DuplexOptions {
  play: string;
  record: string;
  frames: number;
  /** Of both. */
  format: WavFormat;
}

/** The driver's thread. */
export interface DuplexContract {
  init: SoftWires;
  calls: { run(options: DuplexOptions): void };
  event: never;
}

/** See the module. */
export class Duplex implements AsyncDisposable {
  private constructor(readonly worker: BlockingWorker<DuplexContract>) {}

  static async start(wires: SoftWires): Promise<Duplex> {
    const script = new URL("./duplex_worker.ts", import.meta.url);
    return new Duplex(await BlockingWorker.start(script, { name: "duplex driver", init: wires }));
  }

  /** Probes the card, does both, and lets the card go. @throws {Error} when either stands still */
  run(options: DuplexOptions): Promise<void> {
    return this.worker.callWithin(30_000, "run", options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker.close();
  }
}
