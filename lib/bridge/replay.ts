// SPDX-License-Identifier: Apache-2.0
/**
 * A device's replay data: the state that the class records from requests, and which request was answered last. Both lie in
 * the device's state, so that a restoring process has them too.
 *
 * @module
 */
import {
  type DeviceClass,
  loadRole,
  type Replay,
  type ReplayRole,
} from "../virtio/device_class.ts";
import { REPLAY_BYTES } from "../virtio/state.ts";
import type { LaneDevice } from "./lane_messages.ts";

/**
 * The area begins with a header of 32 bytes: u32 epoch that the data belongs to (data of another epoch is discarded), u32
 * mark of the request that was answered last, 24 bytes unused. The class's state follows.
 */
const HEADER_BYTES = 32;
const ANSWERED_AT = 4;

/** The URL of a class's replay role, and the queues with its requests and their answers; plain data, for a Worker. */
export interface ReplaySource {
  readonly url: string;
  readonly queues: readonly number[];
}

/** The role of a class without replay: no request depends on an earlier one. */
export const STATELESS: ReplayRole = {
  queue: -1,
  stateBytes: 0,
  requestBytes: 0,
  responseBytes: 0,
  isOk: () => true,
  create: () => ({ observe: () => {}, before: () => [], after: () => [], isDue: () => false }),
};

/**
 * Loads a class's replay.
 *
 * @param url Null for a class without
 * @throws {RangeError} when its state has no room
 */
export async function loadReplay(url: string | null): Promise<ReplayRole> {
  if (url === null) return STATELESS;
  const replay = await loadRole<ReplayRole>(url, "replay");
  const room = REPLAY_BYTES - HEADER_BYTES;
  if (replay.stateBytes <= room) return replay;
  throw new RangeError(
    `Cannot use the replay of ${url}: its state takes ${replay.stateBytes} bytes, expected at most ${room}`,
  );
}

/** The replay of a device of this class, for its lane. @throws as {@linkcode loadReplay} */
export async function replaySource({ roles }: DeviceClass): Promise<ReplaySource | null> {
  if (roles.replay === undefined) return null;
  const { href: url } = roles.replay;
  const { queue, answers = [] } = await loadReplay(url);
  return { url, queues: [queue, ...answers] };
}

/** One device's replay. */
export class DeviceReplay {
  readonly role: ReplayRole;
  readonly #header: DataView;
  readonly #replay: Replay;

  /**
   * @param area The replay's part of the device's state
   * @param epoch The device's epoch; an area written in another epoch is cleared
   */
  constructor(role: ReplayRole, area: Uint8Array, epoch: number) {
    const header = new DataView(area.buffer, area.byteOffset, HEADER_BYTES);
    if (header.getUint32(0, true) !== epoch) area.fill(0);
    header.setUint32(0, epoch, true);
    this.role = role;
    this.#header = header;
    this.#replay = role.create(area.subarray(HEADER_BYTES, HEADER_BYTES + role.stateBytes));
  }

  /** The queue whose requests are watched and replayed; −1 for a class without replay. */
  get queue(): number {
    return this.role.queue;
  }

  /**
   * Notes a request that was answered.
   *
   * @param length Bytes of the request, at most the role's `requestBytes`
   * @param response The role's `responseBytes` bytes
   * @param entry Its unique mark among the chains in flight
   * @returns the beginning of a response that replaces the back-end's; null to pass the back-end's on
   */
  observe(
    request: DataView,
    length: number,
    response: DataView,
    entry: number,
  ): Uint8Array | null {
    let instead: Uint8Array | null = null;
    if (this.role.isOk(response)) this.#replay.observe(request, length);
    else instead = this.#replay.refused?.(request, length) ?? null;
    // Last: if the process dies before this, the request is resubmitted, and nothing is recorded of it yet.
    this.#header.setUint32(ANSWERED_AT, entry, true);
    return instead;
  }

  /** Whether the chain in flight with this mark was answered, but not given back to the driver. */
  isAnswered(entry: number): boolean {
    return this.#header.getUint32(ANSWERED_AT, true) === entry;
  }

  /** @see {@linkcode Replay.before} */
  before(): Uint8Array<ArrayBuffer>[] {
    return this.#replay.before();
  }

  /** @see {@linkcode Replay.after} */
  after(): Uint8Array<ArrayBuffer>[] {
    return this.#replay.after();
  }

  /** @see {@linkcode Replay.isDue} */
  isDue(queue: number, firstWord: number): boolean {
    return this.#replay.isDue(queue, firstWord);
  }
}

/**
 * Whether a back-end that was not reset can serve the next epoch: it holds no state that would disturb the driver.
 *
 * @param area A copy of the replay's part of the device's state
 * @param epoch The epoch that has ended
 * @throws as {@linkcode loadReplay}
 */
export async function isClean(
  source: ReplaySource | null,
  area: Uint8Array<ArrayBuffer>,
  epoch: number,
): Promise<boolean> {
  if (source === null) return true;
  const { create } = await loadReplay(source.url);
  if (new DataView(area.buffer).getUint32(0, true) !== epoch) return true; // no request was made in that epoch
  return create(area.subarray(HEADER_BYTES)).isClean?.() ?? false;
}

/**
 * Whether a queue is a shadow queue. With isolated memory every queue is; with direct memory only the queue whose requests
 * are replayed, and those with their answers, which must not come before the requests are given back. And only where viola
 * maps the driver's memory (else there is no second back-end to replay to).
 */
export function isShadowed(device: LaneDevice, queue: number): boolean {
  if (device.memory === "isolated") return true;
  return device.port.memory.length > 0 && device.replay?.queues.includes(queue) === true;
}
