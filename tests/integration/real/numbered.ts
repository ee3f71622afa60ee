// SPDX-License-Identifier: Apache-2.0
/**
 * Sound in which every frame can be told from every other: 16-bit stereo whose frames, taken as a little-endian u32,
 * count up. Zero is silence. Written and read here by hand, so that the product's own WAV code is no witness for
 * itself.
 *
 * @module
 */

/** Frames per second. */
export const RATE = 48_000;
/** The first frame's number: the right channel is never silent, the left one runs through all its values. */
export const FIRST = 0x10001;

const HEADER_BYTES = 44;
/** "fmt " and "data", big-endian. */
const [FMT, DATA] = [0x666d7420, 0x64617461];

/** Writes a WAV file of `count` frames numbered from `first` on, then `silence` frames of silence. */
export function writeNumbered(path: string, count: number, silence = 0, first = 0): void {
  const bytes = new Uint8Array(HEADER_BYTES + 4 * (count + silence));
  const view = new DataView(bytes.buffer);
  const data = bytes.length - HEADER_BYTES;
  bytes.set(new TextEncoder().encode("RIFF....WAVEfmt ....................data"));
  view.setUint32(4, bytes.length - 8, true);
  view.setUint32(16, 16, true); // bytes of the format that follows
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 2, true); // channels
  view.setUint32(24, RATE, true);
  view.setUint32(28, 4 * RATE, true); // bytes per second
  view.setUint16(32, 4, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  view.setUint32(40, data, true);
  for (let i = 0; i < count; i++) view.setUint32(HEADER_BYTES + 4 * i, FIRST + first + i, true);
  Deno.writeFileSync(path, bytes);
}

/** The frames of a file, which may still be growing. @throws {Error} when it is no WAV of the kind above */
export function readNumbered(path: string): Uint32Array {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  let found: number[] = [];
  for (let at = 12; at + 8 <= bytes.length;) {
    const [id, size] = [view.getUint32(at, false), view.getUint32(at + 4, true)];
    const start = at + 8;
    if (id === FMT && start + 16 <= bytes.length) {
      found = [0, 2, 14].map((field) => view.getUint16(start + field, true))
        .concat(view.getUint32(start + 4, true));
    }
    if (id === DATA) {
      if (String(found) === String([1, 2, 16, RATE])) return framesFrom(view, start);
      throw new Error(`Cannot read ${path}: expected 16-bit stereo at ${RATE} Hz, found ${found}`);
    }
    at = start + size;
  }
  return new Uint32Array(0);
}

function framesFrom(view: DataView, start: number): Uint32Array {
  const count = Math.floor((view.byteLength - start) / 4);
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(start + 4 * i, true));
}

/** The numbered frames among `frames`, counted from 0, in the order in which they are there. */
export function numbersOf(frames: Uint32Array): number[] {
  return Array.from(frames.filter((frame) => frame !== 0), (frame) => frame - FIRST);
}

/** How many frames of silence end `frames`; all of them if there is no sound at all. */
export function trailingSilence(frames: Uint32Array): number {
  return frames.length - 1 - frames.findLastIndex((frame) => frame !== 0);
}
