// SPDX-License-Identifier: Apache-2.0
/**
 * The features that a back-end offers, and the check of what its front-end accepts.
 *
 * @module
 */
import { bit, describeFeatures, VHOST_USER_F_PROTOCOL_FEATURES } from "../virtio/features.ts";
import type { BackEndDevice } from "./back_end.ts";
import { VhostUserError } from "./errors.ts";
import { protocolFeatureNames, protocolFeatures } from "./messages.ts";

/** The feature bit that announces protocol features. */
export const PROTOCOL_FEATURES_BIT = bit(VHOST_USER_F_PROTOCOL_FEATURES);

const ALWAYS_OFFERED = protocolFeatures("MQ", "REPLY_ACK", "RESET_DEVICE", "INFLIGHT_SHMFD");
const OFFERED_WITH_CONFIG = protocolFeatures("CONFIG", "BACKEND_REQ");

/** The features of a device, with {@linkcode PROTOCOL_FEATURES_BIT}. */
export function offeredFeatures({ features }: BackEndDevice): bigint {
  return features | PROTOCOL_FEATURES_BIT;
}

/** @throws {VhostUserError} naming the features that are not offered */
export function checkFeatures(device: BackEndDevice, accepted: bigint): void {
  const foreign = accepted & ~offeredFeatures(device);
  if (foreign !== 0n) throw refusal(device, "SET_FEATURES", describeFeatures(foreign));
}

/** The protocol features of a device; some only where it has a config space. */
export function offeredProtocolFeatures(device: BackEndDevice): bigint {
  const hasConfig = device.readConfig().length > 0;
  return hasConfig ? ALWAYS_OFFERED | OFFERED_WITH_CONFIG : ALWAYS_OFFERED;
}

/** @throws {VhostUserError} naming the protocol features that are not offered */
export function checkProtocolFeatures(device: BackEndDevice, accepted: bigint): void {
  const foreign = accepted & ~offeredProtocolFeatures(device);
  if (foreign === 0n) return;
  throw refusal(device, "SET_PROTOCOL_FEATURES", protocolFeatureNames(foreign).join(", "));
}

function refusal({ name }: BackEndDevice, message: string, names: string): VhostUserError {
  return new VhostUserError(
    "protocol",
    `Cannot handle ${message} for ${name}: ${names} are not offered`,
  );
}
