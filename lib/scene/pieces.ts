// SPDX-License-Identifier: Apache-2.0
/**
 * Sounds that are computed: music of the demo's own, and signals. The same on every machine and every day.
 *
 * @module
 */

/** Sound as numbers. */
export interface Piece {
  readonly title: string;
  /** Frames per second. */
  readonly rate: number;
  readonly channels: 1 | 2;
  /** Bits per sample of the file it becomes, integer PCM. */
  readonly bits: 16 | 24;
  /** Interleaved, −1 to 1. */
  readonly samples: Float32Array<ArrayBuffer>;
}

/** Pitch of a MIDI note number in hertz (69 is A4, 440 Hz). */
function pitch(note: number): number {
  return 440 * 2 ** ((note - 69) / 12);
}

/** A plucked string (Karplus and Strong, 1983): noise that goes round a string's length and loses its edge. */
function pluck(rate: number, frequency: number, seconds: number, brightness: number): Float32Array {
  const period = rate / frequency - 0.5; // half a sample is lost in the averaging below
  const length = Math.floor(period);
  const fraction = period - length;
  const string = new Float32Array(length + 1);
  let seed = 1;
  let soft = 0;
  for (let i = 0; i < string.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    soft += brightness * (seed / 2 ** 31 - 1 - soft);
    string[i] = soft;
  }
  const mean = string.reduce((sum, value) => sum + value, 0) / string.length;
  for (let i = 0; i < string.length; i++) string[i]! -= mean;
  const sound = new Float32Array(Math.round(rate * seconds));
  let last = 0;
  for (let i = 0, at = 0; i < sound.length; i++, at = (at + 1) % string.length) {
    const older = string[at]!;
    const newer = string[(at + 1) % string.length]!;
    const value = older * fraction + newer * (1 - fraction);
    sound[i] = value;
    string[at] = 0.4985 * (value + last);
    last = value;
  }
  return sound;
}

/** A struck bar: a fundamental and the partials that make it metal, the higher the sooner gone. */
function strike(rate: number, frequency: number, seconds: number): Float32Array {
  const partials = [[1, 1, 0.9], [2, 0.45, 0.55], [3.01, 0.18, 0.3], [4.9, 0.06, 0.12]] as const;
  return Float32Array.from({ length: Math.round(rate * seconds) }, (_, i) => {
    const t = i / rate;
    const attack = 1 - Math.exp(-t / 0.004);
    let sum = 0;
    for (const [ratio, level, decay] of partials) {
      sum += level * Math.exp(-t / decay) * Math.sin(2 * Math.PI * frequency * ratio * t);
    }
    return attack * sum;
  });
}

/** Adds a mono sound to interleaved samples, from `start` seconds on, `pan` from 0 (left) to 1 (right). */
function mix(piece: Piece, sound: Float32Array, start: number, gain: number, pan: number): void {
  const { samples, channels, rate } = piece;
  const gains = channels === 1 ? [gain] : [gain * Math.sqrt(1 - pan), gain * Math.sqrt(pan)];
  const first = Math.round(start * rate) * channels;
  const end = Math.min(sound.length, (samples.length - first) / channels);
  for (let i = 0; i < end; i++) {
    for (let c = 0; c < channels; c++) {
      samples[first + i * channels + c]! += gains[c]! * sound[i]!;
    }
  }
}

/** Brings the loudest sample to `peak`, and lets the last `seconds` fade to silence. */
function finish(piece: Piece, peak: number, seconds: number): Piece {
  const { samples, channels, rate } = piece;
  const loudest = samples.reduce((max, sample) => Math.max(max, Math.abs(sample)), 0);
  const fade = seconds * rate * channels;
  for (let i = 0; i < samples.length; i++) {
    samples[i]! *= peak / loudest * Math.min(1, (samples.length - 1 - i) / fade);
  }
  return piece;
}

function silence(
  title: string,
  rate: number,
  channels: 1 | 2,
  bits: 16 | 24,
  seconds: number,
): Piece {
  const samples = new Float32Array(Math.round(rate * seconds) * channels);
  return { title, rate, channels, bits, samples };
}

/** J. S. Bach, the first chords of the Prelude in C (BWV 846): each is a bar's figure of eight notes. */
const PRELUDE = [
  [60, 64, 67, 72, 76, 67, 72, 76],
  [60, 62, 69, 74, 77, 69, 74, 77],
  [59, 62, 67, 74, 77, 67, 74, 77],
  [60, 64, 67, 72, 76, 67, 72, 76],
];

/** Eight seconds of a plucked prelude: 48 kHz, stereo, 16 bits. */
export function prelude(): Piece {
  const piece = silence("prelude", 48000, 2, 16, 8);
  const beat = 0.17;
  PRELUDE.flat().forEach((note, i) => {
    const sound = pluck(piece.rate, pitch(note), 2.5, 0.45);
    mix(piece, sound, i * beat, i % 8 === 0 ? 1 : 0.8, 0.3 + 0.4 * ((note - 59) / 18));
  });
  [48, 60, 64, 67, 72].forEach((note, i) => {
    const sound = pluck(piece.rate, pitch(note), 2.5, 0.4);
    mix(piece, sound, 32 * beat + i * 0.03, 0.8, 0.3 + 0.1 * i);
  });
  return finish(piece, 0.7, 0.8);
}

/** Five seconds: a little silence, then the three falling notes before an announcement: 44.1 kHz, mono, 24 bits. */
export function gong(): Piece {
  const piece = silence("gong", 44100, 1, 24, 5);
  [79, 76, 72].forEach((note, i) => {
    mix(piece, strike(piece.rate, pitch(note), 3.3), 0.6 + i * 0.55, 1, 0.5);
  });
  return finish(piece, 0.6, 0.5);
}

// ---- signals ----

/** Of all signals. */
const SIGNAL = { rate: 48000, channels: 2, bits: 16 } as const;
/** The loudest sample of a signal, −12 dB. */
const LEVEL = 0.25;

/** A signal of so many seconds, the same on both sides: `at` gives the sample at a time in seconds. */
function signal(title: string, seconds: number, at: (t: number) => number): Piece {
  const piece = silence(title, SIGNAL.rate, SIGNAL.channels, SIGNAL.bits, seconds);
  for (let i = 0; i < piece.samples.length; i += 2) {
    piece.samples[i] = piece.samples[i + 1] = at(i / 2 / SIGNAL.rate);
  }
  return piece;
}

/** White noise, the same every time. */
function noise(seconds: number): Piece {
  let seed = 1;
  return signal("noise", seconds, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return LEVEL * (seed / 2 ** 31 - 1);
  });
}

/** From 100 Hz to 10 kHz, an octave as long as the next. */
function chirp(seconds: number): Piece {
  const [low, high] = [100, 10_000];
  const growth = Math.log(high / low) / seconds;
  return signal(
    "chirp",
    seconds,
    (t) => LEVEL * Math.sin(2 * Math.PI * low * (Math.exp(growth * t) - 1) / growth),
  );
}

/** Each frame is its own number: what is missing or twice can be told. Loud. */
function numbered(seconds: number): Piece {
  const piece = silence("numbered", SIGNAL.rate, SIGNAL.channels, SIGNAL.bits, seconds);
  const full = 2 ** 15 - 1;
  const values = 2 * full + 1;
  for (let i = 0; i < piece.samples.length / 2; i++) {
    piece.samples[2 * i] = (i % values - full) / full;
    piece.samples[2 * i + 1] = (Math.floor(i / values) - full) / full;
  }
  return piece;
}

/** Two notes of a door bell. */
function chime(seconds: number): Piece {
  const piece = silence("chime", SIGNAL.rate, SIGNAL.channels, SIGNAL.bits, seconds);
  [76, 72].forEach((note, i) => {
    mix(piece, strike(piece.rate, pitch(note), seconds), 0.25 * i * seconds, 1, 0.5);
  });
  return finish(piece, 2 * LEVEL, seconds / 4);
}

const PIECES: Readonly<Record<string, (seconds: number) => Piece>> = {
  tone: (seconds) => signal("tone", seconds, (t) => LEVEL * Math.sin(2 * Math.PI * 440 * t)),
  noise,
  chirp,
  numbered,
  chime,
  prelude,
  gong,
};

/** A piece by its name, of `PIECE_NAMES`. @param seconds Its length, unless it is music */
export function pieceNamed(name: string, seconds: number): Piece {
  return PIECES[name]!(seconds);
}

/** A piece's samples as a WAV file's: little-endian integers of {@linkcode Piece.bits}. */
export function pcmBytes({ samples, bits }: Piece): Uint8Array<ArrayBuffer> {
  const width = bits / 8;
  const view = new DataView(new ArrayBuffer(samples.length * width));
  const full = 2 ** (bits - 1) - 1;
  samples.forEach((sample, i) => {
    const value = Math.round(sample * full);
    if (bits === 16) return view.setInt16(2 * i, value, true);
    view.setUint8(3 * i, value & 0xff);
    view.setInt16(3 * i + 1, value >> 8, true);
  });
  return new Uint8Array(view.buffer);
}
