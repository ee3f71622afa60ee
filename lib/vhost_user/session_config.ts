// SPDX-License-Identifier: Apache-2.0
/**
 * A back-end's replies to GET_CONFIG and SET_CONFIG.
 *
 * @module
 */
import type { BackEndDevice } from "./back_end.ts";
import { VhostUserError } from "./errors.ts";
import type { Config } from "./payloads.ts";

/** The part of the config space that was asked for; null when the device has no such part. */
export function readConfig(
  device: BackEndDevice,
  { offset, flags, data: { length } }: Config,
): Config | null {
  const config = device.readConfig();
  if (offset + length > config.length) return null;
  return { offset, flags, data: config.subarray(offset, offset + length) };
}

/** Writes to the config space. @throws {VhostUserError} for bytes outside it */
export function writeConfig(device: BackEndDevice, { offset, data }: Config): void {
  const { length } = device.readConfig();
  const end = offset + data.length;
  if (end > length) {
    throw new VhostUserError(
      "protocol",
      `Cannot do SET_CONFIG for ${device.name}: bytes ${offset} to ${end}, expected an end up to ` +
        `${length}`,
    );
  }
  device.writeConfig?.(offset, data);
}
