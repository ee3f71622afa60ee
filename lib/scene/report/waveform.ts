// SPDX-License-Identifier: Apache-2.0
/**
 * A recording as a picture: the lowest and the highest sample of each column of a time axis.
 *
 * @module
 */
import { sampleBytes, type WavFormat } from "../../wav/mod.ts";

/** Where a recording has got to at a time. */
export interface Place {
  /** Seconds. */
  readonly t: number;
  /** Frames recorded by then. */
  readonly frame: number;
}

/** A column: the lowest and the highest sample, −1 to 1; null where nothing was recorded. */
export type Column = readonly [lowest: number, highest: number] | null;

/**
 * The columns of a recording.
 *
 * @param samples Whole frames of a packed format
 * @param places In the order of time; the recording goes from one to the next evenly, and only where it gets further
 * @param seconds The length of the axis, from 0 on
 */
export function columnsOf(
  samples: Uint8Array,
  format: WavFormat,
  places: readonly Place[],
  seconds: number,
  count: number,
): Column[] {
  const read = sampleReader(samples, format);
  const frames = samples.length / (sampleBytes(format) * format.channels);
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i, i + 1].map((n) => frameAt(places, seconds * n / count));
    const first = Math.min(frames, Math.floor(from!));
    const last = Math.min(frames, Math.ceil(to!));
    return to! <= from! || first >= last
      ? null
      : extremes(read, first * format.channels, last * format.channels);
  });
}

/** Frames recorded by a time: 0 before the first place, as many as at the last after it. */
function frameAt(places: readonly Place[], t: number): number {
  const next = places.findIndex((place) => place.t > t);
  if (next < 0) return places.at(-1)?.frame ?? 0;
  if (next === 0) return places[0]!.frame;
  const [a, b] = [places[next - 1]!, places[next]!];
  return a.frame + (b.frame - a.frame) * (t - a.t) / (b.t - a.t);
}

/** Samples that are looked at of each column, at most: a picture needs no more. */
const MOST_LOOKS = 2000;

function extremes(read: (i: number) => number, from: number, to: number): Column {
  const step = Math.max(1, Math.floor((to - from) / MOST_LOOKS)) | 1; // odd: it meets both channels
  let [low, high] = [Infinity, -Infinity];
  for (let i = from; i < to; i += step) {
    const value = read(i);
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Reads the i-th sample of any format that a card plays, as −1 to 1. */
function sampleReader(bytes: Uint8Array, format: WavFormat): (i: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { encoding, bits } = format;
  if (encoding === "float") {
    return bits === 32 ? (i) => view.getFloat32(4 * i, true) : (i) => view.getFloat64(8 * i, true);
  }
  if (encoding === "mulaw") return (i) => muLaw(bytes[i]!);
  if (encoding === "alaw") return (i) => aLaw(bytes[i]!);
  if (bits === 8) return (i) => (bytes[i]! - 128) / 128;
  if (bits === 16) return (i) => view.getInt16(2 * i, true) / 2 ** 15;
  if (bits === 32) return (i) => view.getInt32(4 * i, true) / 2 ** 31;
  return (i) => (view.getInt16(3 * i + 1, true) * 256 + bytes[3 * i]!) / 2 ** 23;
}

/** ITU-T G.711. */
function muLaw(byte: number): number {
  const code = ~byte & 0xff;
  const size = (((code & 0x0f) << 3) + 0x84 << (code >> 4 & 7)) - 0x84;
  return (code & 0x80 ? -size : size) / 32768;
}

/** ITU-T G.711. */
function aLaw(byte: number): number {
  const code = byte ^ 0x55;
  const exponent = code >> 4 & 7;
  const fraction = (code & 0x0f) << 4;
  const size = exponent === 0 ? fraction + 8 : fraction + 0x108 << exponent - 1;
  return (code & 0x80 ? size : -size) / 32768;
}
