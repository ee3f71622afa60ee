// SPDX-License-Identifier: Apache-2.0
/**
 * Silence, in any format.
 *
 * @module
 */

/** Fills with the bytes of a sample, repeated; offset and length are whole samples. */
export function fill(
  bytes: Uint8Array,
  offset: number,
  length: number,
  silence: readonly number[],
): void {
  const n = silence.length;
  if (n === 1 || silence.every((byte) => byte === 0)) {
    bytes.fill(silence[0]!, offset, offset + length);
  } else {
    for (let i = 0; i < length; i++) bytes[offset + i] = silence[i % n]!;
  }
}
