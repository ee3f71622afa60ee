// SPDX-License-Identifier: Apache-2.0
/**
 * The `fmt ` chunk: the format of the samples.
 *
 * @module
 */
import { frameBytes, type WavFormat } from "./format.ts";

/** The most bytes of a `fmt ` chunk that are read: WAVEFORMATEXTENSIBLE. */
export const MAX_FMT_BYTES = 40;

const TAGS = { pcm: 1, float: 3, alaw: 6, mulaw: 7 } as const;
const TAG_EXTENSIBLE = 0xfffe;
/** Common encodings that are not supported, for the error message. */
const FOREIGN_TAGS: Record<number, string> = {
  0x02: "MS ADPCM",
  0x11: "IMA ADPCM",
  0x31: "GSM 6.10",
  0x50: "MPEG",
  0x55: "MP3",
};
const BITS: Record<WavFormat["encoding"], readonly number[]> = {
  pcm: [8, 16, 24, 32],
  float: [32, 64],
  alaw: [8],
  mulaw: [8],
};
/** The last 14 bytes of every sub-format of WAVE_FORMAT_EXTENSIBLE, after its tag. */
const SUBFORMAT_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/** Speaker masks by number of channels, in the order of their samples. */
const CHANNEL_MASKS = [0, 0x4, 0x3, 0x7, 0x33, 0x37, 0x3f, 0x13f, 0x63f];

/** A `fmt ` chunk, decoded. */
export interface ParsedFormat {
  format: WavFormat;
  /** A contradiction in it, as a sentence; empty if there is none. */
  remark: string;
}

/**
 * Reads a `fmt ` chunk. `wBitsPerSample` and the number of channels decide the layout of samples: a sample takes as many whole
 * bytes as its bits need, and is in their upper bits. `nBlockAlign` counts in one case only, 24 bits in 4 bytes:
 * the lower three are the sample, as arecord writes S24_LE. In every other case it is ignored.
 *
 * @param view The chunk, or its first {@linkcode MAX_FMT_BYTES}
 * @param fail Called with why it cannot be read
 */
export function parseFmt(view: DataView, fail: (why: string) => never): ParsedFormat {
  if (view.byteLength < 16) return fail(`its format has ${view.byteLength} bytes, expected 16`);
  const encoding = encodingOf(view, fail);
  const channels = view.getUint16(2, true);
  const rate = view.getUint32(4, true);
  const frame = view.getUint16(12, true);
  const said = view.getUint16(14, true);
  const bits = bitsOf(encoding, said);
  if (channels === 0 || rate === 0 || !BITS[encoding].includes(bits)) {
    return fail(
      `its format is impossible: ${encoding}, ${channels} channels, ${rate} Hz, ${said} bits, ${frame} bytes per frame`,
    );
  }
  const isPadded = encoding === "pcm" && said === 24 && frame === 4 * channels;
  const format: WavFormat = {
    encoding,
    bits,
    ...(isPadded ? { container: 32 } : {}),
    channels,
    rate,
  };
  return { format, remark: remarkOn(format, frame, said) };
}

/** Bits of a sample, from those in the header. */
function bitsOf(encoding: WavFormat["encoding"], said: number): number {
  if (encoding === "pcm") return 8 * Math.ceil(said / 8);
  return encoding === "float" ? said : 8; // A-law and mu-law by definition
}

function remarkOn(format: WavFormat, frame: number, said: number): string {
  const expected = frameBytes(format);
  const { encoding, bits, channels } = format;
  if (encoding !== "pcm" && said !== bits) {
    return `its header says ${said} bits per sample, but ${encoding} has ${bits}: ${bits} are taken`;
  }
  if (frame === expected) return "";
  return `its header says ${frame} bytes per frame, but ${channels} × ${said} bits take ${expected}: ` +
    `${expected} are taken`;
}

function encodingOf(view: DataView, fail: (why: string) => never): WavFormat["encoding"] {
  let tag = view.getUint16(0, true);
  if (tag === TAG_EXTENSIBLE) {
    const known = view.byteLength >= 40 &&
      SUBFORMAT_TAIL.every((byte, i) => view.getUint8(26 + i) === byte);
    if (!known) return fail("its extensible format is not a standard one");
    tag = view.getUint16(24, true);
  }
  const encoding = (Object.keys(TAGS) as (keyof typeof TAGS)[]).find((key) => TAGS[key] === tag);
  if (encoding !== undefined) return encoding;
  const name = FOREIGN_TAGS[tag] ?? `0x${tag.toString(16).padStart(4, "0")}`;
  return fail(`its encoding is ${name}, expected PCM, float, A-law or mu-law`);
}

/**
 * The body of a `fmt ` chunk: plain where every reader expects it so, extensible where the standard asks for it (but for
 * S24_LE, whose only customary form is arecord's, a plain one).
 */
export function buildFmt(format: WavFormat): Uint8Array<ArrayBuffer> {
  const { encoding, bits, container, channels, rate } = format;
  const wide = channels > 2 || (encoding === "pcm" && bits > 16);
  const extensible = wide && container === undefined;
  const size = extensible ? MAX_FMT_BYTES : encoding === "pcm" ? 16 : 18;
  const view = new DataView(new ArrayBuffer(size));
  view.setUint16(0, extensible ? TAG_EXTENSIBLE : TAGS[encoding], true);
  view.setUint16(2, channels, true);
  view.setUint32(4, rate, true);
  view.setUint32(8, rate * frameBytes(format), true);
  view.setUint16(12, frameBytes(format), true);
  view.setUint16(14, bits, true);
  if (extensible) {
    view.setUint16(16, MAX_FMT_BYTES - 18, true);
    view.setUint16(18, bits, true);
    view.setUint32(20, CHANNEL_MASKS[channels] ?? 0, true);
    view.setUint16(24, TAGS[encoding], true);
    SUBFORMAT_TAIL.forEach((byte, i) => view.setUint8(26 + i, byte));
  }
  return new Uint8Array(view.buffer);
}
