// SPDX-License-Identifier: Apache-2.0
/**
 * What a GPIO controller that takes another's place must be told: of each line its direction, the level that it drives, and
 * the type of its interrupt. Without it a line is no output any more, and an event buffer that is offered again comes back as
 * invalid, again and again, as Linux's driver offers it anew each time.
 *
 * A line is one byte of the state: bits 0 and 1 its direction; bits 2 and 3 the level that was set, plus 1; bits 4 to 7 the
 * type of its interrupt. A byte of 0 is a line that the driver has not touched, or given up.
 *
 * @module
 */
import type { Replay, ReplayRole } from "../../virtio/device_class.ts";
import {
  decodeRequest,
  DIRECTION_NONE,
  encodeRequest,
  IRQ_TYPE_LEVEL_LOW,
  MSG_IRQ_TYPE,
  MSG_SET_DIRECTION,
  MSG_SET_VALUE,
  REQUEST_SIZE,
  RESPONSE_SIZE,
  STATUS_OK,
  VQ_REQUEST,
} from "./wire.ts";

/** Lines that are remembered; those beyond it are not repeated. */
const REMEMBERED_LINES = 1024;

const OK = Uint8Array.of(STATUS_OK, 0);

/** Where a setting lies in a line's byte. */
interface Field {
  readonly shift: number;
  readonly mask: number;
  /** What is added, so that 0 means that nothing was set. */
  readonly offset: number;
  readonly max: number;
}

/** In the order in which they are repeated: an output drives the right level from the beginning. */
const FIELDS: ReadonlyMap<number, Field> = new Map([
  [MSG_SET_VALUE, { shift: 2, mask: 3, offset: 1, max: 1 }],
  [MSG_SET_DIRECTION, { shift: 0, mask: 3, offset: 0, max: 2 }],
  [MSG_IRQ_TYPE, { shift: 4, mask: 15, offset: 0, max: IRQ_TYPE_LEVEL_LOW }],
]);

/** The state: a byte for each line. */
class GpioReplay implements Replay {
  constructor(readonly area: Uint8Array) {}

  #get(line: number, { shift, mask, offset }: Field): number {
    return (this.area[line]! >> shift & mask) - offset;
  }

  observe(request: DataView, length: number): void {
    const { type, gpio, value, field } = settingOf(request, length) ?? {};
    if (field === undefined) return;
    if (type === MSG_SET_DIRECTION && value === DIRECTION_NONE) {
      this.area[gpio!] = 0; // with all that was set before (§5.18.6.9)
      return;
    }
    const rest = this.area[gpio!]! & ~(field.mask << field.shift);
    this.area[gpio!] = rest | (value! + field.offset) << field.shift;
  }

  /**
   * What is so already is done. A back-end may refuse to enable an interrupt that is enabled, and it comes up where a request
   * was answered by one back-end and sent again to the next.
   */
  refused(request: DataView, length: number): Uint8Array | null {
    const { type, gpio, value, field } = settingOf(request, length) ?? {};
    if (field === undefined || type !== MSG_IRQ_TYPE) return null;
    return this.#get(gpio!, field) === value ? OK : null;
  }

  /** A driver begins with lines that nobody uses. */
  isClean(): boolean {
    return this.area.every((line) => line === 0);
  }

  /** Before the event buffers: they come back at once when their interrupt is not enabled. */
  before(): Uint8Array<ArrayBuffer>[] {
    const messages: Uint8Array<ArrayBuffer>[] = [];
    for (let gpio = 0; gpio < this.area.length; gpio++) {
      if (this.area[gpio] === 0) continue;
      for (const [type, field] of FIELDS) {
        const value = this.#get(gpio, field);
        if (value + field.offset === 0 || value > field.max) continue; // nothing was set
        messages.push(encodeRequest({ type, gpio, value }));
      }
    }
    return messages;
  }

  after(): Uint8Array<ArrayBuffer>[] {
    return [];
  }

  isDue(): boolean {
    return false;
  }
}

/** A request that sets something of a line that is remembered; null for any other. */
function settingOf(request: DataView, length: number) {
  if (length < REQUEST_SIZE) return null;
  const { type, gpio, value } = decodeRequest(request);
  const field = FIELDS.get(type);
  if (field === undefined || gpio >= REMEMBERED_LINES || value > field.max) return null;
  return { type, gpio, value, field };
}

/** GPIO's replay. */
export const replay: ReplayRole = {
  queue: VQ_REQUEST,
  stateBytes: REMEMBERED_LINES,
  requestBytes: REQUEST_SIZE,
  responseBytes: RESPONSE_SIZE,
  isOk: (response) => response.getUint8(0) === STATUS_OK,
  create: (area) => new GpioReplay(area),
};
