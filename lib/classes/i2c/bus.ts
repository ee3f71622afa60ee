// SPDX-License-Identifier: Apache-2.0
/**
 * An I2C bus as its adapter uses it, of whatever kind it is.
 *
 * @module
 */
import type { Address } from "./wire.ts";

/** The most bytes of a message, and messages of a transfer: what Linux's i2c-dev takes. */
export const MAX_MESSAGE_BYTES = 8192;
/** @see {@linkcode MAX_MESSAGE_BYTES} */
export const MAX_MESSAGES = 42;

/** A part of a transfer, from a start condition to the next one, or to the stop. */
export interface Message extends Address {
  readonly isRead: boolean;
  /** What is written; or where what is read goes, as much of it as there is room. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The bus. */
export interface Bus extends Disposable {
  /**
   * Does a transfer: the messages one after the other, without a stop between them.
   *
   * @param messages At least 1, at most {@linkcode MAX_MESSAGES}
   * @returns how many were done; those after the first that failed are not tried. 0 also where it is not known which failed
   * @throws {Error} for a failure that is not the chip's or the wires'
   */
  transfer(messages: readonly Message[]): number;
}
