// SPDX-License-Identifier: Apache-2.0
/**
 * Sample formats and frame rates of the sound device (virtio 1.2 §5.14.6.6.2), as tables by the standard's codes.
 *
 * @module
 */
/** How a WAV file carries a format as it is, byte for byte. */
export interface WavCarrier {
  readonly encoding: "pcm" | "float" | "alaw" | "mulaw";
  /** Bits that a sample has. */
  readonly bits: number;
  /** Bits that a sample takes where that is more. */
  readonly container?: 32;
}

/** A sample format (§5.14.6.6.2). */
export interface SampleFormat {
  /** Its number, VIRTIO_SND_PCM_FMT_… */
  readonly code: number;
  /** The standard's name without its prefix. */
  readonly name: string;
  /** ALSA's name, which aplay, arecord and pw-cat know too. */
  readonly alsa: string;
  /** Bits that carry sound. */
  readonly bits: number;
  /** Bytes that a sample takes; 0 where samples do not fill whole bytes. */
  readonly bytes: number;
  /** How a WAV file carries it unchanged; null: it cannot. */
  readonly wav: WavCarrier | null;
  /** One sample of silence. */
  readonly silence: readonly number[];
}

type FormatRow = readonly [
  name: string,
  alsa: string,
  bits: number,
  bytes: number,
  wav?: WavCarrier | null,
  silence?: readonly number[],
];

/** Rows in the order of their codes. */
const FORMAT_ROWS: readonly FormatRow[] = [
  ["IMA_ADPCM", "IMA_ADPCM", 4, 0],
  ["MU_LAW", "MU_LAW", 8, 1, { encoding: "mulaw", bits: 8 }, [0xff]],
  ["A_LAW", "A_LAW", 8, 1, { encoding: "alaw", bits: 8 }, [0xd5]],
  ["S8", "S8", 8, 1],
  ["U8", "U8", 8, 1, { encoding: "pcm", bits: 8 }, [0x80]],
  ["S16", "S16_LE", 16, 2, { encoding: "pcm", bits: 16 }],
  ["U16", "U16_LE", 16, 2, null, [0, 0x80]],
  ["S18_3", "S18_3LE", 18, 3],
  ["U18_3", "U18_3LE", 18, 3, null, [0, 0, 0x02]],
  ["S20_3", "S20_3LE", 20, 3],
  ["U20_3", "U20_3LE", 20, 3, null, [0, 0, 0x08]],
  ["S24_3", "S24_3LE", 24, 3, { encoding: "pcm", bits: 24 }],
  ["U24_3", "U24_3LE", 24, 3, null, [0, 0, 0x80]],
  ["S20", "S20_LE", 20, 4],
  ["U20", "U20_LE", 20, 4, null, [0, 0, 0x08, 0]],
  ["S24", "S24_LE", 24, 4, { encoding: "pcm", bits: 24, container: 32 }],
  ["U24", "U24_LE", 24, 4, null, [0, 0, 0x80, 0]],
  ["S32", "S32_LE", 32, 4, { encoding: "pcm", bits: 32 }],
  ["U32", "U32_LE", 32, 4, null, [0, 0, 0, 0x80]],
  ["FLOAT", "FLOAT_LE", 32, 4, { encoding: "float", bits: 32 }],
  ["FLOAT64", "FLOAT64_LE", 64, 8, { encoding: "float", bits: 64 }],
  ["DSD_U8", "DSD_U8", 8, 1, null, [0x69]],
  ["DSD_U16", "DSD_U16_LE", 16, 2, null, [0x69, 0x69]],
  ["DSD_U32", "DSD_U32_LE", 32, 4, null, [0x69, 0x69, 0x69, 0x69]],
  ["IEC958_SUBFRAME", "IEC958_SUBFRAME_LE", 32, 4],
];

/** All sample formats; the index is the code. */
export const SAMPLE_FORMATS: readonly SampleFormat[] = FORMAT_ROWS.map(
  ([name, alsa, bits, bytes, wav = null, silence = new Array<number>(bytes).fill(0)], code) => ({
    code,
    name,
    alsa,
    bits,
    bytes,
    wav,
    silence,
  }),
);

/** The sample format of a WAV encoding, undefined when the standard has none. */
export function formatOfWav(wav: WavCarrier): SampleFormat | undefined {
  return SAMPLE_FORMATS.find((format) =>
    format.wav?.encoding === wav.encoding && format.wav.bits === wav.bits &&
    format.wav.container === wav.container
  );
}

/** Frame rates in Hz (§5.14.6.6.2); the index is the code VIRTIO_SND_PCM_RATE_…. */
export const FRAME_RATES: readonly number[] = [
  5512,
  8000,
  11025,
  16000,
  22050,
  32000,
  44100,
  48000,
  64000,
  88200,
  96000,
  176400,
  192000,
  384000,
];
