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

/** Told of a transfer how many messages were done; and of what failed, if that is not the chip's or the wires'. */
export type OnTransferred = (done: number, fault?: Error) => void;

/** The bus. */
export interface Bus extends Disposable {
  /** What it is called in errors. */
  readonly name: string;
  /**
   * Begins a transfer: the messages one after the other, without a stop between them. Not to be called before the last one is
   * done. Those after the first that failed are not tried. 0 are done also where it is not known which failed.
   *
   * @param messages At least 1, at most {@linkcode MAX_MESSAGES}; what is read is in them when it is done
   * @param onTransferred Called when it is done, now or later
   */
  transfer(messages: readonly Message[], onTransferred: OnTransferred): void;
}
