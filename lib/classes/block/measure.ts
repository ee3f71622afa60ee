// SPDX-License-Identifier: Apache-2.0
/**
 * Measuring reads of a disk.
 *
 * @module
 */
import { monotonicNs } from "../../../ffi/mod.ts";
import type { Buffer, Transfers } from "./transfers.ts";
import { SECTOR_SIZE, T_IN } from "./wire.ts";

/** What is measured. */
export interface MeasureOptions {
  /** Bytes of each read. */
  readonly bytes: number;
  /** Requests in flight at once. */
  readonly depth: number;
  readonly requests: number;
  /** In order from the beginning of the disk; else at random. */
  readonly sequential: boolean;
  /** Sectors of the disk that are read. */
  readonly sectors: number;
}

/** Measures reads. @returns how long all of them took, in nanoseconds */
export function measureReads(transfers: Transfers, options: MeasureOptions): number {
  const { bytes, depth, requests, sequential, sectors } = options;
  const places = Math.floor(sectors * SECTOR_SIZE / bytes);
  const buffers = transfers.allocate(depth, bytes);
  let started = 0;
  let done = 0;
  const next = (buffer: Buffer): void => {
    if (started === requests) return;
    const place = sequential ? started % places : Math.floor(Math.random() * places);
    started++;
    const queue = started % transfers.queueCount;
    transfers.start(buffer, queue, T_IN, place * (bytes / SECTOR_SIZE), bytes);
  };
  for (const buffer of buffers) {
    buffer.onDone = () => {
      transfers.check(buffer);
      done++;
      next(buffer);
    };
  }
  const begin = monotonicNs();
  for (const buffer of buffers) next(buffer);
  while (done < requests) {
    const seen = done;
    transfers.await(() => done > seen);
  }
  const ns = monotonicNs() - begin;
  transfers.free(buffers);
  return ns;
}
