// SPDX-License-Identifier: Apache-2.0
/**
 * A device's replay, as the bridge keeps it: the class's memory of its requests, and which of them was answered last. Both lie
 * in the device's state, so that a successor has them too.
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
 * The area begins with 32 bytes of the bridge's: u32 epoch it belongs to (what an earlier life of the device left counts
 * for nothing), u32 mark of the request that was answered last, 24 unused. The class's state follows.
 */
const HEADER_BYTES = 32;
const ANSWERED_AT = 4;

/** Where a class's replay is loaded from, and the queue it is about; plain data, for a Worker. */
export interface ReplaySource {
  readonly url: string;
  readonly queue: number;
}

/** For a class that has none: its requests stand each for itself. */
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
  return { url, queue: (await loadReplay(url)).queue };
}

/** One device's replay. */
export class DeviceReplay {
  readonly role: ReplayRole;
  readonly #header: DataView;
  readonly #replay: Replay;

  /**
   * @param area The replay's part of the device's state
   * @param epoch The device's life; if the area was written in another, it is cleared
   */
  constructor(role: ReplayRole, area: Uint8Array, epoch: number) {
    const header = new DataView(area.buffer, area.byteOffset, HEADER_BYTES);
    if (header.getUint32(0, true) !== epoch) area.fill(0);
    header.setUint32(0, epoch, true);
    this.role = role;
    this.#header = header;
    this.#replay = role.create(area.subarray(HEADER_BYTES, HEADER_BYTES + role.stateBytes));
  }

  /** The queue whose requests are watched and repeated; −1 for a class without replay. */
  get queue(): number {
    return this.role.queue;
  }

  /**
   * Notes a request that was answered.
   *
   * @param length How many bytes of the request there are, at most the role's `requestBytes`
   * @param response The role's `responseBytes` bytes
   * @param entry Its mark among the chains in flight, which tells it from every other
   * @returns the beginning of the response that the driver is given instead, null when it is given this one
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
    // Last, so that a process that dies before this repeats a request which has left no trace yet.
    this.#header.setUint32(ANSWERED_AT, entry, true);
    return instead;
  }

  /** Whether the chain in flight with this mark was answered, and only its giving back was missed. */
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
 * Whether a back-end that was not reset remembers nothing that the driver's next life must not find.
 *
 * @param area A copy of the replay's part of the device's state
 * @param epoch The device's life that is over
 * @throws as {@linkcode loadReplay}
 */
export async function isClean(
  source: ReplaySource | null,
  area: Uint8Array<ArrayBuffer>,
  epoch: number,
): Promise<boolean> {
  if (source === null) return true;
  const { create } = await loadReplay(source.url);
  if (new DataView(area.buffer).getUint32(0, true) !== epoch) return true; // that life never came to a request
  return create(area.subarray(HEADER_BYTES)).isClean?.() ?? false;
}

/**
 * Whether viola copies a queue's chains between the driver's ring and one of the back-end's own. With isolated
 * memory every queue; with direct memory only the one whose requests a new back-end must be told again, if there can be
 * a new one, that is, if viola sees the driver's memory at all.
 */
export function isShadowed(device: LaneDevice, queue: number): boolean {
  if (device.memory === "isolated") return true;
  return device.port.memory.length > 0 && device.replay?.queue === queue;
}
