// SPDX-License-Identifier: Apache-2.0
/**
 * What an input device is and has, and the config space that tells the driver (virtio 1.2, §5.8.4).
 *
 * @module
 */
import {
  type AbsInfo,
  CFG_ABS_INFO,
  CFG_EV_BITS,
  CFG_ID_DEVIDS,
  CFG_ID_NAME,
  CFG_ID_SERIAL,
  CFG_PROP_BITS,
  type DeviceIds,
  encodeAbsInfo,
  encodeBits,
  encodeDeviceIds,
  INPUT_CONFIG_SIZE,
  MOST_PAYLOAD,
  PAYLOAD_AT,
} from "./wire.ts";

/** See the module. */
export interface Capabilities {
  readonly name: string;
  readonly serial: string;
  readonly ids: DeviceIds;
  /** Numbers of INPUT_PROP_*. */
  readonly properties: readonly number[];
  /** Codes, by event type. */
  readonly codes: ReadonlyMap<number, readonly number[]>;
  /** Axes, by their codes of EV_ABS. */
  readonly axes: ReadonlyMap<number, AbsInfo>;
}

const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

/** As much of a text as there is room for, in UTF-8: whole characters. */
function encodeText(text: string): Uint8Array {
  const bytes = new Uint8Array(MOST_PAYLOAD);
  return bytes.subarray(0, encoder.encodeInto(text, bytes).written);
}

/** What a select and subsel give; nothing for what the device does not have. */
export function selected(of: Capabilities, select: number, subsel: number): Uint8Array {
  if (select === CFG_EV_BITS) return encodeBits(of.codes.get(subsel) ?? []);
  if (select === CFG_ABS_INFO) {
    const axis = of.axes.get(subsel);
    return axis === undefined ? NOTHING : encodeAbsInfo(axis);
  }
  if (subsel !== 0) return NOTHING;
  if (select === CFG_ID_NAME) return encodeText(of.name);
  if (select === CFG_ID_SERIAL) return encodeText(of.serial);
  if (select === CFG_ID_DEVIDS) return encodeDeviceIds(of.ids);
  return select === CFG_PROP_BITS ? encodeBits(of.properties) : NOTHING;
}

/** The config space after a select and subsel. */
export function encodeConfig(
  of: Capabilities,
  select: number,
  subsel: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(INPUT_CONFIG_SIZE);
  const payload = selected(of, select, subsel);
  bytes.set([select, subsel, payload.length]);
  bytes.set(payload, PAYLOAD_AT);
  return bytes;
}
