// SPDX-License-Identifier: Apache-2.0
/**
 * Lists in sentences.
 *
 * @module
 */

/** "sound", "sound or rng", "sound, rng or can". */
export function oneOf(words: readonly string[], join = "or"): string {
  return words.length < 2
    ? words.join()
    : `${words.slice(0, -1).join(", ")} ${join} ${words.at(-1)}`;
}
