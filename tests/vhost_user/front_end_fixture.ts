// SPDX-License-Identifier: Apache-2.0
import { Reactor } from "../../ffi/mod.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { FrontEnd } from "../../lib/vhost_user/front_end.ts";
import type { FrontEndOptions } from "../../lib/vhost_user/front_end_types.ts";
import { Driver, SocketFolder, SOUND, VERSION_1 } from "./harness.ts";
import { type Behaviour, HostileBackEnd } from "./hostile_back_end.ts";

/** A front-end of ours, connected to a back-end that may be anything. */
export class Bench implements AsyncDisposable {
  readonly reactor = new Reactor();
  readonly folder = new SocketFolder();
  readonly back: HostileBackEnd;
  readonly losses: VhostUserError[] = [];
  readonly lost = Promise.withResolvers<VhostUserError>();
  configChanged = Promise.withResolvers<void>();
  front!: FrontEnd;

  private constructor(behaviour: Behaviour) {
    this.back = new HostileBackEnd(this.reactor, this.path, behaviour);
  }

  static async create(
    behaviour: Behaviour = {},
    options: Partial<FrontEndOptions> = {},
  ): Promise<Bench> {
    const bench = new Bench(behaviour);
    bench.front = await FrontEnd.connect(bench.path, bench.options(options));
    return bench;
  }

  get path(): string {
    return this.folder.socket("device");
  }

  options(options: Partial<FrontEndOptions>): FrontEndOptions {
    return {
      reactor: this.reactor,
      name: "card0",
      deviceClass: SOUND,
      onLost: (error) => {
        this.losses.push(error);
        this.lost.resolve(error);
      },
      onConfigChange: () => this.configChanged.resolve(),
      ...options,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.front.close();
    this.back[Symbol.dispose]();
    await this.reactor.close();
    this.folder[Symbol.dispose]();
  }
}

/** All that a front-end ever asks, in its order. */
export async function converse(front: FrontEnd, driver: Driver): Promise<void> {
  await front.initialise();
  await front.readConfig();
  await front.writeConfig(4, Uint8Array.of(1, 2));
  await front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  await front.stop();
  await front.resetDevice();
}
