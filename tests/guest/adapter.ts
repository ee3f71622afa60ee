// SPDX-License-Identifier: Apache-2.0
/** A scripted device on a soft node, served by a thread of its own: what stands in for viola where only the guest is tested. */
import { BlockingWorker } from "../../ffi/mod.ts";
import type { LoopbackPort } from "../../lib/loopback/port.ts";
import { SoftLoopback, type SoftNode } from "../../lib/loopback/soft.ts";
import type { FakeOptions, Script } from "./fake_device.ts";
import type { SeenMessage } from "./fake_sound.ts";

/** What a scripted device saw. */
export interface Seen {
  messages: SeenMessage[];
  controls: string[];
  bad: string[];
  ringErrors: string[];
  resets: number;
  playedBytes: Uint8Array<ArrayBuffer>;
  notifications: number[];
  status: number;
}

/** The device's thread. */
export interface AdapterContract {
  init: { port: LoopbackPort; options: FakeOptions };
  calls: {
    grant(count: number): void;
    sendEvent(code: number, data: number): boolean;
    script(script: Script): void;
    deafen(deaf: boolean): void;
    seen(): Seen;
  };
  event: never;
}

export class Adapter implements AsyncDisposable {
  readonly #loopback: SoftLoopback;
  readonly #worker: BlockingWorker<AdapterContract>;
  readonly #options: FakeOptions;

  private constructor(
    loopback: SoftLoopback,
    worker: BlockingWorker<AdapterContract>,
    options: FakeOptions,
  ) {
    this.#loopback = loopback;
    this.#worker = worker;
    this.#options = options;
  }

  /** Attaches to a node; the device appears by {@linkcode appear}. */
  static async attach(node: SoftNode, options: FakeOptions): Promise<Adapter> {
    const loopback = SoftLoopback.attach(node);
    const worker = await BlockingWorker.start(new URL("./adapter_worker.ts", import.meta.url), {
      name: "adapter",
      init: { port: loopback.port, options },
    });
    return new Adapter(loopback, worker, options);
  }

  /** START_LOOPBACK. */
  appear(): void {
    const { kind, mmioVersion, vendor = 0x4c474121 } = this.#options;
    const deviceId = kind === "sound" ? 25 : 4;
    this.#loopback.start({ magic: 0x74726976, version: mmioVersion, deviceId, vendor });
  }

  grant(count: number): Promise<void> {
    return this.#worker.call("grant", count);
  }

  /** @returns false if the driver has no buffer for it there */
  sendEvent(code: number, data: number): Promise<boolean> {
    return this.#worker.call("sendEvent", code, data);
  }

  script(script: Script): Promise<void> {
    return this.#worker.call("script", script);
  }

  /** Whether it answers nothing from now on. */
  deafen(deaf: boolean): Promise<void> {
    return this.#worker.call("deafen", deaf);
  }

  seen(): Promise<Seen> {
    return this.#worker.call("seen");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.close();
    this.#loopback.close();
  }
}
