// SPDX-License-Identifier: Apache-2.0
/**
 * The specification of an embedded network card, and its contract with its owner.
 *
 * @module
 */
import { type DeviceContract, type DeviceEvent, SpecError } from "../../device/role.ts";
import { cableLink, cablePath } from "./cable.ts";
import { type LinkSpec, NO_LINK } from "./link.ts";
import { checkTap, tapLink } from "./tap_link.ts";
import { MAC_BYTES, MTU_RANGE, parseMac } from "./wire.ts";

/** The options of a card. */
export interface NetSpec {
  /** The tap interface of the host that it is connected to, which is made if it is not there. */
  tap?: string;
  /** The cable to another card of this user, instead: a name. Neither: its link is down. */
  cable?: string;
  /** Its MAC address, as "02:00:00:00:00:01". @default a locally administered one, made of machine and socket */
  mac?: string;
  /** The most bytes of a frame's payload, 68 to 65535. @default {1500} */
  mtu?: number;
}

/** What a card reports, besides the events of every device. */
export type NetEvent = DeviceEvent & {
  readonly kind: "link";
  /** Whether the link is up. */
  readonly isUp: boolean;
};

/** What a card has counted since it was made, in frames. */
export interface NetCounters {
  /** Whether the link is up. */
  readonly isUp: boolean;
  readonly sent: number;
  /** Those of the driver that nobody could receive, or not in time. */
  readonly lost: number;
  /** Those of the driver that were not sent: too short or long, or with offloads that were not negotiated. */
  readonly refused: number;
  readonly received: number;
  /** Those from the link that the driver did not get: longer than the MTU allows, or than its buffer. */
  readonly dropped: number;
}

/** What a card and its owner agree on. */
export interface NetDeviceContract extends DeviceContract {
  spec: NetSpec;
  calls: { counters(): NetCounters };
  event: NetEvent;
}

/** The payload that every Ethernet carries. */
export const DEFAULT_MTU = 1500;

/** @throws {SpecError} */
export function checkNet({ tap, cable, mac, mtu = DEFAULT_MTU }: NetSpec): void {
  if (tap !== undefined && cable !== undefined) {
    throw new SpecError(
      `Cannot connect a card to tap interface ${tap} and to cable ${cable}: expected one of them`,
    );
  }
  if (tap !== undefined) checkTap(tap);
  if (cable !== undefined) cablePath(cable);
  if (mac !== undefined) checkMac(mac);
  const [least, most] = MTU_RANGE;
  if (!Number.isInteger(mtu) || mtu < least || mtu > most) {
    throw new SpecError(`Cannot use MTU ${mtu}: expected ${least} to ${most}`);
  }
}

/** A card's address is its own: no group has it. */
function checkMac(text: string): void {
  const mac = parseMac(text);
  if (mac !== null && (mac[0]! & 1) === 0 && mac.some((byte) => byte !== 0)) return;
  throw new SpecError(
    `Cannot use MAC address "${text}": expected one of a single card, such as 02:00:00:00:00:01`,
  );
}

/** The link of a specification. */
export function linkOf({ tap, cable }: NetSpec): LinkSpec {
  if (tap !== undefined) return tapLink(tap);
  return cable === undefined ? NO_LINK : cableLink(cable);
}

/**
 * The MAC address of a specification. Without one: the same each time for the same socket on the same machine, so that a
 * driver that is up when the device is started again keeps its address.
 *
 * @param place What tells this card from others of the machine; null: the address is drawn
 */
export function macOf({ mac }: NetSpec, place: string | null): Uint8Array<ArrayBuffer> {
  if (mac !== undefined) return parseMac(mac)!;
  const made = crypto.getRandomValues(new Uint8Array(MAC_BYTES));
  if (place !== null) new DataView(made.buffer).setUint32(2, hash(`${machineId()} ${place}`));
  if (place !== null) new DataView(made.buffer).setUint16(0, hash(`${place} ${machineId()}`));
  made[0] = made[0]! & ~1 | 2; // no group's, and locally administered
  return made;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  return new TextEncoder().encode(text)
    .reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193), 0x811c9dc5) >>> 0;
}

/** Tells machines apart that have sockets of the same path; "" where there is none. */
function machineId(): string {
  try {
    return Deno.readTextFileSync("/etc/machine-id").trim();
  } catch {
    return "";
  }
}
