// SPDX-License-Identifier: Apache-2.0
/**
 * The echo device's structures: what lies in its queues and its config space.
 *
 * @module
 */

/** Queues, by index. */
export const VQ_CONTROL = 0;
/** @see {@linkcode VQ_CONTROL} */
export const VQ_ECHO = 1;
/** @see {@linkcode VQ_CONTROL} */
export const VQ_EVENT = 2;

/** Config space: u32 `limit`, the most bytes that a device gives back at once. */
export const CONFIG_SIZE = 4;

/** A control request: u8 code, u8 key. The answer is one byte. */
export const CONTROL_SIZE = 2;
/** Sets the key: each byte that comes back is combined with it by exclusive or. */
export const SET_KEY = 1;
/** The answers. */
export const OK = 0;
/** @see {@linkcode OK} */
export const BAD_REQUEST = 1;

/** An event: u32, how often the device was knocked at. */
export const EVENT_SIZE = 4;
