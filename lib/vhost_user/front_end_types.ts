// SPDX-License-Identifier: Apache-2.0
/**
 * What a front-end gets from its back-end, and from its owner.
 *
 * @module
 */
import type { Reactor } from "../../ffi/mod.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { VhostUserError } from "./errors.ts";
import type { InflightShape } from "./inflight.ts";

/** What a back-end is, as `FrontEnd.initialise` learnt it. */
export interface Profile {
  /** The virtio features it offers, without bit 30. */
  readonly features: bigint;
  /** The negotiated protocol features. */
  readonly protocolFeatures: bigint;
  /** How many queues it can serve. */
  readonly queueCount: number;
  /** Its config space, empty for a class without one. */
  readonly config: Uint8Array<ArrayBuffer>;
  /** Whether it notes which chains it has in flight, in memory that outlives it (INFLIGHT_SHMFD). */
  readonly tracksInflight: boolean;
}

/** Memory in which a back-end notes which chains it has in flight. The caller owns the descriptor. */
export interface InflightSlot extends InflightShape {
  /** As `FrontEnd.inflightSize` returned it. */
  readonly size: number;
  /** It begins at offset 0. */
  readonly fd: number;
}

/** A memory region for the back-end to map. */
export interface MemorySlot {
  /** Guest address of its first byte: what descriptors hold. */
  guest: number;
  /** Bytes. */
  size: number;
  /** User address of its first byte; ring addresses are user addresses. Any unique range will do, such as that of `guest`. */
  user: number;
  /** Where it begins in the file, a multiple of the page size. */
  offset: number;
  /** The file's descriptor; stays the caller's. */
  fd: number;
}

/** A ring to start. The caller owns the descriptors. */
export interface RingSetup {
  index: number;
  /** Entries, a power of two. */
  size: number;
  /** The next available index, 0 to 65535. */
  base: number;
  /** User addresses, see {@linkcode MemorySlot.user}. */
  desc: number;
  avail: number;
  used: number;
  /** eventfd (non-blocking) that the front-end signals. */
  kick: number;
  /** eventfd (non-blocking) that the back-end signals. */
  call: number;
}

/** Arguments of `FrontEnd.start`. */
export interface Setup {
  /** The features that the driver accepted; bit 30 is added here. */
  features: bigint;
  /** At most 8 regions. Absent: those sent before on this connection stay valid. */
  memory?: readonly MemorySlot[] | undefined;
  rings: readonly RingSetup[];
  /** Only for a back-end that tracks them; it continues with the chains that are noted there. */
  inflight?: InflightSlot | undefined;
}

/** The index at which a ring stopped. */
export interface RingBase {
  index: number;
  /** The next available index that the back-end would have taken. */
  base: number;
}

/** Options of a `FrontEnd`. */
export interface FrontEndOptions {
  reactor: Reactor;
  /** The device's name, for errors. */
  name: string;
  deviceClass: DeviceClass;
  /** Called once when the connection ended for another reason than `FrontEnd.close`; pending calls reject with the same error. */
  onLost?: ((error: VhostUserError) => void) | undefined;
  /** Deadline for an ordinary reply; replies that come after draining or mapping may take five times that. @default 2000 ms */
  deadlineMs?: number | undefined;
  /** Called when the back-end reports a changed config space; read it with `FrontEnd.readConfig`. */
  onConfigChange?: (() => void) | undefined;
  /**
   * Whether the back-end is to note which chains it has in flight (INFLIGHT_SHMFD). Needed only where its rings are the
   * driver's own: in rings of viola's, viola knows every chain.
   */
  tracksInflight?: boolean | undefined;
}
