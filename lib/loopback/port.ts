// SPDX-License-Identifier: Apache-2.0
/**
 * What every loopback device looks like once it is open, whoever presents it.
 *
 * @module
 */
import { ioctl, type MappedRange, signalEvent, unwrap } from "../../ffi/mod.ts";
import type { ChunkSource } from "./chunks.ts";
import type { Identity } from "./page.ts";

/** Where a back-end works: in memory of its own, viola copying (isolated), or in the driver's (direct). */
export type MemoryMode = "isolated" | "direct";

/** Something to be rung: an eventfd, or an ioctl of a node. */
export interface Bell {
  /** Descriptor number. */
  readonly fd: number;
  /** ioctl number; 0: `fd` is an eventfd. */
  readonly request: number;
  /** What the ioctl's argument points to; null for none. */
  readonly argument: Uint8Array<ArrayBuffer> | null;
}

/**
 * Rings a bell. On the AGL driver the interrupt's bell returns only when the driver has handled the interrupt, two
 * register accesses included: never ring it on the thread that serves them.
 *
 * @throws {OsError}
 */
export function ring(bell: Bell): void {
  if (bell.request === 0) signalEvent(bell.fd);
  else unwrap(ioctl(bell.fd, bell.request, bell.argument), "ring the loopback driver");
}

/** A stretch of the driver's memory that this process has mapped. */
export interface MappedMemory extends MappedRange {
  /** Guest physical address of its first byte. */
  readonly guest: number;
}

/** An open loopback device as plain data, so that Workers can be given it. Its owner is a {@linkcode Loopback}. */
export interface LoopbackPort {
  /** As the user named it. */
  readonly name: string;
  /** The page of register accesses. */
  readonly page: MappedRange;
  /** eventfd: an access is in the page. */
  readonly doorbell: number;
  /** To be rung when an access is answered. */
  readonly wakeup: Bell;
  /** To be rung for an interrupt. */
  readonly interrupt: Bell;
  /** Whether viola sets `done` itself; the AGL driver does it in WAKEUP, and a second time would answer the next access. */
  readonly setsDone: boolean;
  /** The driver's memory as far as viola has mapped it; empty when only the back-end does, or {@linkcode chunks} serves. */
  readonly memory: readonly MappedMemory[];
  /** The way to the memory of whoever restores the device, piece by piece; null where all is mapped. */
  readonly chunks: ChunkSource | null;
}

/** One region of SET_MEM_TABLE. */
export interface SharedRegion {
  /** Guest physical address of its first byte. */
  guest: number;
  /** Bytes. */
  size: number;
  /** Where it begins in the file. */
  offset: number;
  /** The file's descriptor number. */
  fd: number;
}

/** An open loopback device, with its owner's duties. */
export interface Loopback extends Disposable {
  readonly port: LoopbackPort;
  /** The regions that give a back-end the driver's memory (direct memory). */
  readonly shares: readonly SharedRegion[];
  /** How many back-ends may map {@linkcode shares} in this device's life. */
  readonly backEndLives: number;
  /** Descriptor numbers with which {@linkcode restoreLoopback} restores it in another process. */
  readonly kept: readonly number[];
  /** Mappings of the node that this process made so far, where they are limited; else 0. */
  readonly mappings: number;
  /** How many queues drivers can set up with version 1 of the registers in the node's life; Infinity: any number. */
  readonly maxQueueSetups: number;
  /** START_LOOPBACK: from now on a driver may probe the device. @throws {OsError} */
  start(identity: Identity): void;
  /** Gives everything back. On the AGL driver this ends the device until the machine is restarted. */
  close(): void;
}
