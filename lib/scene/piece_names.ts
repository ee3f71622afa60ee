// SPDX-License-Identifier: Apache-2.0
/**
 * The names of the pieces that viola computes, see `pieces.ts`.
 *
 * @module
 */

/** Sounds for measurements and signals, as long as one likes. */
export const SIGNAL_NAMES = ["tone", "noise", "chirp", "numbered", "chime"] as const;
/** Music, of a length of its own. */
export const MUSIC_NAMES = ["prelude", "gong"] as const;
/** All. */
export const PIECE_NAMES: readonly string[] = [...SIGNAL_NAMES, ...MUSIC_NAMES];
