// SPDX-License-Identifier: Apache-2.0
/**
 * The part of an embedded device that is the same for every class.
 *
 * At each wake-up a device takes one turn: the chains in its queues, in virtqueue order, then what is due by the clock, then
 * interrupts. A queue is served up to as many chains as its ring has room for; if it offers more, the next turn comes at once.
 * A malformed ring is not served until the driver resets it.
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
import type { Clock, Watch, Watches } from "../../ffi/mod.ts";
import type { Commands } from "./command.ts";
import type { DeviceContract, DeviceEvent, DeviceHost, DeviceRole, VirtioDevice } from "./role.ts";

const RING_FEATURES = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_RING_INDIRECT_DESC) |
  bit(VIRTIO_F_RING_EVENT_IDX);

/** The most queues that a front-end can set up. */
const MAX_QUEUES = 256;

/** What a device uses of its Worker. */
export interface Surroundings {
  /** Only this device uses it. */
  readonly clock: Clock;
  /** The loop that the device lives in. */
  readonly watches: Pick<Watches, "watch">;
  readonly commands: Commands;
  /** See {@linkcode DeviceHost.controlPath}. */
  readonly controlPath: string | null;
  readonly report: (event: DeviceEvent) => void;
  /** Notifies the front-end of a change of the config space. */
  readonly configChanged: () => void;
}

/** A device of some class, as the vhost-user back-end calls it. */
export class EmbeddedDevice<C extends DeviceContract = DeviceContract>
  implements BackEndDevice, Disposable {
  readonly name: string;
  readonly deviceId: number;
  readonly features: bigint;
  readonly queueCount: number;
  readonly maxQueueSize = 1024;
  /** The device as its class implements it. */
  readonly device: VirtioDevice<C>;
  readonly #around: Surroundings;
  readonly #queues: readonly QueueClass[];
  readonly #rings: (BackEndRing | null)[];
  /** Free chains: they are made once and reused. */
  readonly #chains: Chain[] = [];
  /** Queues that are to stop: no more of their chains are taken. */
  readonly #draining = new Set<number>();
  /** A queue has more chains than one turn serves: the next turn must follow at once. */
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
    const { clock, commands, controlPath, report, configChanged } = this.#around;
    return {
      controlPath,
      commands,
      watch: (number, events, onEvent) => this.#watch(number, events, onEvent),
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

  #watch(number: number, events: number, onEvent: (events: number) => void): Watch {
    return this.#around.watches.watch(number, events, (seen) => {
      onEvent(seen);
      this.turn();
    });
  }

  /** Answers a call of the owner. @throws {Error} what the device throws, or if it has no such call */
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

  featuresAccepted(features: bigint): void {
    this.device.featuresAccepted?.(features);
  }

  startRing(ring: BackEndRing): void {
    this.#rings[ring.index] = ring;
    ring.onKick = () => this.turn();
    this.turn();
  }

  drainRing(index: number): boolean {
    this.#draining.add(index);
    const isDrained = this.device.drain?.(index) ?? true;
    this.#arm();
    return isDrained;
  }

  stopRing(index: number, abandoned: boolean): void {
    this.#draining.delete(index);
    this.device.stop?.(index, abandoned);
    this.#rings[index]?.call();
    this.#rings[index] = null;
    this.#arm();
  }

  disconnected(): void {
    this.device.reset?.();
    this.#arm();
  }

  /** Ends the device. Every ring was stopped before. */
  close(): void {
    this.device.close?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- a turn ----

  /** Serves the queues, the clock and the interrupts once. */
  turn(): void {
    this.#again = false;
    for (let index = 0; index < this.queueCount; index++) {
      if (this.#queues[index]!.kind !== "event") this.#pump(index);
    }
    this.device.tick?.(this.#around.clock.now());
    const drained = [...this.#draining].filter((index) => this.device.drain?.(index) ?? true);
    for (const ring of this.#rings) ring?.call();
    this.#arm();
    for (const index of drained) this.#rings[index]?.drained(); // the ring may stop by this
  }

  #arm(): void {
    const deadline = this.device.deadline?.() ?? Infinity;
    this.#around.clock.arm(this.#again ? 0 : deadline);
  }

  /** A ring that chains are taken from. */
  #served(index: number): BackEndRing | null {
    return this.#draining.has(index) ? null : this.#rings[index] ?? null;
  }

  /** Serves at most as many chains as the ring has room for, so that one busy driver cannot occupy the device for ever. */
  #pump(index: number): void {
    const live = this.#served(index);
    if (live === null) return;
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
    const live = this.#served(index);
    if (live === null) return null;
    const chain = this.#chains.pop() ?? new Chain();
    try {
      do {
        if (live.ring.pop(chain)) return chain;
      } while (live.ring.enableNotifications()); // or the driver would not tell of the next chain
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

  /** Reports a chain that has no room for a response. */
  #refuse(index: number, chain: Chain, expected: number): void {
    const text = `Cannot answer a request in queue ${index} of ${this.name}: it has room for ` +
      `${chain.writableBytes} bytes, expected ${expected}`;
    this.#complete(index, chain, 0);
    this.#around.report({ kind: "error", text });
  }
}
