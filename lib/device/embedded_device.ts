// SPDX-License-Identifier: Apache-2.0
/**
 * What is the same for embedded devices of every class.
 *
 * Whatever wakes it, a device takes one turn: what its queues offer, in virtqueue order, then what is due by the clock, then
 * interrupts. A queue is served up to as many chains as its ring has room for; if it offers more, the next turn comes at once.
 * A malformed ring is not served any more, until the driver resets it.
 *
 * @module
 */
import { Chain } from "../virtio/chain.ts";
import type { QueueClass } from "../virtio/device_class.ts";
import {
  bit,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import type { BackEndDevice, BackEndRing } from "../vhost_user/back_end.ts";
import type { Clock } from "../../ffi/mod.ts";
import type { Commands } from "./command.ts";
import type { DeviceContract, DeviceEvent, DeviceHost, DeviceRole, VirtioDevice } from "./role.ts";

const RING_FEATURES = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_RING_INDIRECT_DESC) |
  bit(VIRTIO_F_RING_EVENT_IDX);

/** As many queues as a back-end can be asked for. */
const MAX_QUEUES = 256;

/** What a device is surrounded by. */
export interface Surroundings {
  /** Only this device uses it. */
  readonly clock: Clock;
  readonly commands: Commands;
  readonly report: (event: DeviceEvent) => void;
  /** Tells the front-end that the config space changed. */
  readonly configChanged: () => void;
}

/** A device of some class, as a back-end's server drives it. */
export class EmbeddedDevice<C extends DeviceContract = DeviceContract> implements BackEndDevice {
  readonly name: string;
  readonly deviceId: number;
  readonly features: bigint;
  readonly queueCount: number;
  readonly maxQueueSize = 1024;
  /** The class's part of it. */
  readonly device: VirtioDevice<C>;
  readonly #around: Surroundings;
  readonly #queues: readonly QueueClass[];
  readonly #rings: (BackEndRing | null)[];
  /** Chains to fill: they are made once and go round. */
  readonly #chains: Chain[] = [];
  /** A queue had more than a turn takes: the next must come at once. */
  #again = false;

  /** @throws {Error} what the class's `create` throws */
  constructor(role: DeviceRole<C>, spec: C["spec"], around: Surroundings) {
    const { deviceClass } = role;
    this.#around = around;
    this.device = role.create(spec, this.#host());
    this.name = deviceClass.name;
    this.deviceId = deviceClass.id;
    const { features = 0n } = this.device;
    this.features = RING_FEATURES | features;
    const config = this.readConfig();
    this.#queues = deviceClass.queues({ features, queueCount: MAX_QUEUES, config });
    this.queueCount = this.#queues.length;
    this.#rings = this.#queues.map(() => null);
    around.clock.onAlarm = () => this.turn();
  }

  #host(): DeviceHost<C["event"]> {
    const { clock, commands, report, configChanged } = this.#around;
    return {
      commands,
      now: () => clock.now(),
      report,
      complete: (queue, chain, written) => this.#complete(queue, chain, written),
      refuse: (queue, chain, expected) => this.#refuse(queue, chain, expected),
      pump: (queue) => this.#pump(queue),
      take: (queue) => this.#take(queue),
      wake: () => this.turn(),
      configChanged,
    };
  }

  /** Answers a call from outside. @throws {Error} what the device throws, or that it has no such call */
  call(name: string, args: readonly unknown[]): unknown {
    const calls = this.device.calls as Record<string, (...args: unknown[]) => unknown> | undefined;
    if (calls === undefined || !Object.hasOwn(calls, name)) {
      throw new TypeError(`Cannot ask ${this.name} for ${name}: it has no such call`);
    }
    try {
      return calls[name]!(...args);
    } finally {
      this.turn();
    }
  }

  // ---- the back-end's side ----

  readConfig(): Uint8Array<ArrayBuffer> {
    return this.device.readConfig?.() ?? new Uint8Array(0);
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.device.writeConfig?.(offset, bytes);
    this.turn();
  }

  startRing(ring: BackEndRing): void {
    this.#rings[ring.index] = ring;
    ring.onKick = () => this.turn();
    this.turn();
  }

  stopRing(index: number, abandoned: boolean): void {
    this.device.stop?.(index, abandoned);
    this.#rings[index]?.call();
    this.#rings[index] = null;
    this.#arm();
  }

  disconnected(): void {
    this.device.reset?.();
    this.#arm();
  }

  // ---- a turn ----

  /** Does all there is to do. */
  turn(): void {
    this.#again = false;
    for (let index = 0; index < this.queueCount; index++) {
      if (this.#queues[index]!.kind !== "event") this.#pump(index);
    }
    this.device.tick?.(this.#around.clock.now());
    for (const ring of this.#rings) ring?.call();
    this.#arm();
  }

  #arm(): void {
    const deadline = this.device.deadline?.() ?? Infinity;
    this.#around.clock.arm(this.#again ? 0 : deadline);
  }

  /** Serves what a queue offers, up to as many chains as its ring has room for: a driver that never stops must not stop us. */
  #pump(index: number): void {
    const live = this.#rings[index];
    if (live === null || live === undefined) return;
    const { ring } = live;
    try {
      for (let budget = ring.size; budget > 0;) {
        const chain = this.#chains.pop() ?? new Chain();
        if (ring.pop(chain)) {
          this.device.serve(index, chain);
          budget--;
        } else {
          this.#chains.push(chain);
          if (!ring.enableNotifications()) return;
        }
      }
      this.#again = true;
    } catch (error) {
      this.#giveUp(live, error as Error);
    }
  }

  #giveUp(ring: BackEndRing, error: Error): void {
    this.#rings[ring.index] = null;
    this.device.stop?.(ring.index, true);
    ring.fail(error);
  }

  #take(index: number): Chain | null {
    const live = this.#rings[index];
    if (live === null || live === undefined) return null;
    const chain = this.#chains.pop() ?? new Chain();
    try {
      if (live.ring.pop(chain)) return chain;
    } catch (error) {
      this.#giveUp(live, error as Error);
    }
    this.#chains.push(chain);
    return null;
  }

  #complete(index: number, chain: Chain, written: number): void {
    this.#rings[index]!.ring.complete(chain.head, written);
    this.#chains.push(chain);
  }

  /** There is no room to say what is wrong. */
  #refuse(index: number, chain: Chain, expected: number): void {
    const text = `Cannot answer a request in queue ${index} of ${this.name}: it has room for ` +
      `${chain.writableBytes} bytes, expected ${expected}`;
    this.#complete(index, chain, 0);
    this.#around.report({ kind: "error", text });
  }
}
