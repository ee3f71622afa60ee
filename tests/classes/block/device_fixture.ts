// SPDX-License-Identifier: Apache-2.0
/**
 * A driver at the queues of a block device, without a socket.
 *
 * @module
 */
import { device as role } from "../../../lib/classes/block/device.ts";
import { IoSlots } from "../../../lib/classes/block/io_slots.ts";
import { OP, STABLE } from "../../../lib/classes/block/operations.ts";
import type { BlockDeviceContract, BlockSpec } from "../../../lib/classes/block/spec.ts";
import * as wire from "../../../lib/classes/block/wire.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

/** How long a request may take, on a machine that does other things too. */
const DEADLINE_MS = 30_000;

/** What came of a request. */
export interface Answer {
  readonly status: number;
  /** What was read: all that is writable, but the status. */
  readonly data: Uint8Array;
  /** What the used ring says was written. */
  readonly written: number;
}

/** The head of a request. */
export function head(type: number, sector = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(wire.REQUEST_HEADER_SIZE);
  wire.encodeRequestHeader(new DataView(bytes.buffer), 0, { type, sector });
  return bytes;
}

/** Ranges to discard or to fill with zeros. */
export function rangesOf(...ranges: Partial<wire.SectorRange>[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ranges.length * wire.RANGE_SIZE);
  ranges.forEach((range, i) => {
    const whole = { sector: 0, sectors: 0, flags: 0, ...range };
    wire.encodeRange(new DataView(bytes.buffer), i * wire.RANGE_SIZE, whole);
  });
  return bytes;
}

/** The device, its rings, and the requests that are with it. */
export class Disk implements Disposable {
  readonly bench: DeviceBench<BlockDeviceContract>;
  readonly wiring: Wiring;
  readonly #sent = new Map<number, { places: number[]; lengths: number[] }>();
  /** Answers by token. */
  readonly answers = new Map<number, Answer>();
  #next = 1;

  /** @param features What the driver accepts; the device's own by default */
  constructor(spec: BlockSpec, features?: bigint) {
    this.bench = new DeviceBench(role, spec);
    const { device } = this.bench;
    device.featuresAccepted(features ?? device.features);
    this.wiring = new Wiring(device);
    this.wiring.start();
  }

  get config(): wire.BlockConfig {
    return wire.decodeBlockConfig(new DataView(this.bench.device.readConfig().buffer));
  }

  /** Offers a request; `lengths` are its writable pieces. @returns its token */
  send(queue: number, pieces: Uint8Array[], lengths: number[]): number {
    const token = this.#next++;
    this.#sent.set(token, { lengths, places: this.wiring.offer(queue, token, pieces, lengths) });
    this.#take();
    return token;
  }

  #take(): void {
    for (const queue of this.wiring.queues) {
      for (let used; (used = queue.take()) !== null;) {
        const { places, lengths } = this.#sent.get(used.token)!;
        this.#sent.delete(used.token);
        const all = places.flatMap((
          at,
          i,
        ) => [...this.wiring.bytes.subarray(at, at + lengths[i]!)]);
        this.answers.set(used.token, {
          status: all.at(-1) ?? -1,
          data: Uint8Array.from(all.slice(0, -1)),
          written: used.length,
        });
      }
    }
  }

  /** Waits until a request is answered. */
  wait(token: number): Answer {
    const { watches } = this.bench;
    const deadline = performance.now() + DEADLINE_MS;
    for (; !this.answers.has(token); this.#take()) {
      if (performance.now() > deadline) throw new Error(`request ${token} was not answered`);
      watches.dispatch(watches.epoll.wait(100));
    }
    return this.answers.get(token)!;
  }

  /** Offers a request and waits for its answer. */
  do(pieces: Uint8Array[], lengths: number[], queue = 0): Answer {
    return this.wait(this.send(queue, pieces, lengths));
  }

  read(sector: number, bytes: number, queue = 0): Answer {
    return this.do([head(wire.T_IN, sector)], [bytes, 1], queue);
  }

  write(sector: number, data: Uint8Array, queue = 0): number {
    return this.do([head(wire.T_OUT, sector), data], [1], queue).status;
  }

  flush(): number {
    return this.do([head(wire.T_FLUSH)], [1]).status;
  }

  [Symbol.dispose](): void {
    const { device } = this.bench;
    for (let i = 0; i < device.queueCount; i++) this.bench.stop(i);
    device.disconnected();
    this.bench[Symbol.dispose]();
  }
}

const NAMES = Object.keys(OP);

/** Notes the operations that devices queue until it is disposed of. */
export class Spy implements Disposable {
  readonly ops: string[] = [];
  readonly #queue = IoSlots.prototype.queue;

  constructor() {
    const { ops } = this;
    const queue = this.#queue;
    IoSlots.prototype.queue = function (slot, op, position, length) {
      ops.push(NAMES[op & ~STABLE]! + ((op & STABLE) === 0 ? "" : "Stable"));
      queue.call(this, slot, op, position, length);
    };
  }

  [Symbol.dispose](): void {
    IoSlots.prototype.queue = this.#queue;
  }
}
