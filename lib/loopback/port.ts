// SPDX-License-Identifier: Apache-2.0
/**
 * An open loopback device of any kind.
 *
 * @module
 */
import { ioctl, type MappedRange, type PeerSignal, unwrap } from "../../ffi/mod.ts";
import type { ChunkSource } from "./chunks.ts";
import type { Identity } from "./page.ts";

/** The memory a back-end uses: viola's, with data copied (isolated), or the driver's (direct). */
export type MemoryMode = "isolated" | "direct";

/** A signal to the other side: an eventfd, which that side holds too, or an ioctl of a node. */
export interface Bell {
  /** Descriptor number. */
  readonly fd: number;
  /** ioctl number; 0: `fd` is an eventfd. */
  readonly request: number;
  /** The memory that the ioctl's argument points to; null for none. */
  readonly argument: Uint8Array<ArrayBuffer> | null;
}

/**
 * Sends the signal. On the AGL driver an interrupt returns only when the driver has handled it, including two register
 * accesses: never call this for an interrupt on the thread that serves them.
 *
 * @throws {OsError}
 */
export function ring(bell: Bell, signal: PeerSignal): void {
  if (bell.request === 0) signal.signal(bell.fd);
  else unwrap(ioctl(bell.fd, bell.request, bell.argument), "ring the loopback driver");
}

/** A range of the driver's memory that this process has mapped. */
export interface MappedMemory extends MappedRange {
  /** Guest physical address of its first byte. */
  readonly guest: number;
}

/** An open loopback device as plain data, for Workers. Owned by a {@linkcode Loopback}. */
export interface LoopbackPort {
  /** As the user named it. */
  readonly name: string;
  /** The page of register accesses. */
  readonly page: MappedRange;
  /** eventfd that is signalled when an access is in the page. */
  readonly doorbell: number;
  /** Signals that an access is answered. */
  readonly wakeup: Bell;
  /** Raises an interrupt. */
  readonly interrupt: Bell;
  /** Whether viola sets `done`. The AGL driver does so in WAKEUP; setting it again could answer the next access. */
  readonly setsDone: boolean;
  /** The driver's memory that is mapped; empty when only the back-end maps it, or {@linkcode chunks} is used. */
  readonly memory: readonly MappedMemory[];
  /** How to map the memory piece by piece, in a restored device; null where all of it is mapped. */
  readonly chunks: ChunkSource | null;
}

/** One region of SET_MEM_TABLE. */
export interface SharedRegion {
  /** Guest physical address of its first byte. */
  guest: number;
  /** Bytes. */
  size: number;
  /** Its offset in the file. */
  offset: number;
  /** The file's descriptor number. */
  fd: number;
}

/** An open loopback device and its resources. */
export interface Loopback extends Disposable {
  readonly port: LoopbackPort;
  /** The regions of the driver's memory, for a back-end with direct memory. */
  readonly shares: readonly SharedRegion[];
  /** How many back-ends may map {@linkcode shares} in this device's life. */
  readonly backEndLives: number;
  /** Descriptor numbers with which {@linkcode restoreLoopback} restores it in another process. */
  readonly kept: readonly number[];
  /** Mappings of the node that this process made so far, where they are limited; else 0. */
  readonly mappings: number;
  /** How many queues drivers can set up by register version 1 in the node's life; Infinity: any number. */
  readonly maxQueueSetups: number;
  /** START_LOOPBACK: a driver may probe the device afterwards. @throws {OsError} */
  start(identity: Identity): void;
  /** Frees everything. On the AGL driver the node is unusable afterwards until the machine is restarted. */
  close(): void;
}
