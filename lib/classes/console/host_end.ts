// SPDX-License-Identifier: Apache-2.0
/**
 * What a port is connected to on the host.
 *
 * @module
 */
import type { TerminalSize } from "./wire.ts";

/** The host's end of a port. It never blocks; after each event that it waits for, the device takes a turn. */
export interface HostEnd extends Disposable {
  /** Where it is, for people: the continuation of "is". */
  readonly place: string;
  /** Whether a program is connected, and all that it wrote was read. */
  readonly isOpen: boolean;
  /** Takes the next program, if one wants to connect. Called only while none is connected, and the driver knows that. */
  admit(): void;
  /** @returns bytes read to the beginning of the buffer, 0 when there are none now */
  read(buffer: Uint8Array<ArrayBuffer>): number;
  /** Forgets a program that has left, with what it wrote. */
  forgetLeft(): void;
  /** @returns bytes written, or gone with a program that has left; 0 when there is no room now */
  write(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number;
  /** The terminal's size; null, or absent, when that is not known. */
  size?(): TerminalSize | null;
  /** When to call {@linkcode admit} again, in nanoseconds; absent: after an event. */
  readonly retryAt?: number;
}

/** Nothing: what is written is gone. */
export const NOWHERE: HostEnd = {
  place: "connected to nothing",
  isOpen: false,
  admit: () => {},
  forgetLeft: () => {},
  read: () => 0,
  write: () => 0,
  [Symbol.dispose]: () => {},
};
