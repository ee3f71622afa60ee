// SPDX-License-Identifier: Apache-2.0
/**
 * Two recordings whose mix can be taken apart again, frame by frame, to the last bit: their frames are numbered, and in
 * every 16-bit sample the one uses the high bits, the other the low ones. Between them there is room for the first to be
 * turned down by powers of two. As they share no bit and never reach full scale, sound servers add them exactly.
 *
 * @module
 */
import { type WavFormat, WavWriter } from "../../lib/wav/mod.ts";

/** Frames that are played at a time: both the sound server's and ALSA's. */
export const PERIOD = 8192;

const FORMAT: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48_000 };

/** One of the recordings. A frame's code is shared out to both channels, and never zero: that is silence. */
export interface Part {
  /** Its file is called car-NAME.wav. */
  readonly name: "music" | "voice";
  readonly frames: number;
  /** How many bits of each sample carry the code … */
  readonly bits: number;
  /** … and how many lie below them. */
  readonly shift: number;
  /** Codes come round after so many frames: a prime number, so that no number of lost periods looks like none. */
  readonly modulus: number;
}

/** The louder one, which may be turned down to an eighth. */
export const MUSIC: Part = {
  name: "music",
  frames: 60 * PERIOD,
  bits: 7,
  shift: 8,
  modulus: 16_253,
};
/** The other. */
export const VOICE: Part = {
  name: "voice",
  frames: 16 * PERIOD,
  bits: 5,
  shift: 0,
  modulus: 991,
};
/** Halvings that music can be found under. */
const GAINS = [0, 1, 2, 3];

/** The samples of a part's n-th frame: left, right. */
export function frameOf({ bits, shift, modulus }: Part, n: number): [number, number] {
  const code = 2 ** bits + n % modulus;
  return [code % 2 ** bits << shift, code >>> bits << shift];
}

/** Writes both recordings. */
export function writeParts(folder: string): void {
  for (const part of [MUSIC, VOICE]) {
    const samples = new Int16Array(2 * part.frames);
    for (let n = 0; n < part.frames; n++) samples.set(frameOf(part, n), 2 * n);
    using writer = WavWriter.create(`${folder}/car-${part.name}.wav`, FORMAT);
    writer.write(new Uint8Array(samples.buffer));
    writer.commit();
  }
}

/** The frames of a part that were heard. */
export class Track {
  /** Their numbers, in order. */
  readonly numbers: number[] = [];
  /** Where in the mix the first and the last of them lie; −1 before there is one. */
  first = -1;
  last = -1;
  #next = 0;

  constructor(readonly part: Part) {}

  /** How many frames were left out, if the next one has this code. */
  gap(code: number): number {
    const { bits, modulus } = this.part;
    const distance = (code - 2 ** bits - this.#next) % modulus;
    return distance < 0 ? distance + modulus : distance;
  }

  add(code: number, at: number): void {
    if (code === 0) return;
    const number = this.#next + this.gap(code);
    this.numbers.push(number);
    this.#next = number + 1;
    if (this.first < 0) this.first = at;
    this.last = at;
  }
}

/** What a recording of the mix holds. */
export interface Heard {
  readonly music: Track;
  readonly voice: Track;
  /** The gains of the music in order, each with the frame of the recording from which it holds. */
  readonly gains: { gain: number; from: number }[];
  /** Frames of the recording that are no sum of the two. */
  readonly foreign: number[];
}

/** The codes of both parts in a frame, if the music was halved so often; null if it cannot have been. */
function codes(left: number, right: number, halvings: number): [number, number] | null {
  const step = 2 ** (MUSIC.shift - halvings);
  const low = [left % step, right % step];
  const high = [(left - low[0]!) / step, (right - low[1]!) / step];
  const fits = low.every((v) => v >= 0 && v < 2 ** VOICE.bits && Number.isInteger(v)) &&
    high.every((v) => v < 2 ** MUSIC.bits);
  return fits ? [high[0]! + high[1]! * 2 ** MUSIC.bits, low[0]! + low[1]! * 2 ** VOICE.bits] : null;
}

/**
 * Takes a mix apart.
 *
 * @param mix Frames of two samples, full scale 1
 */
export function takeApart(mix: Float32Array): Heard {
  const music = new Track(MUSIC);
  const voice = new Track(VOICE);
  const gains: Heard["gains"] = [];
  const foreign: number[] = [];
  let halvings = 0;
  for (let at = 0; at < mix.length / 2; at++) {
    const left = mix[2 * at]! * 32_768;
    const right = mix[2 * at + 1]! * 32_768;
    // Under another gain the music's code would be one from elsewhere.
    const goesOn = (halvings: number): boolean => {
      const found = codes(left, right, halvings);
      return found !== null && (found[0] === 0 || music.gap(found[0]) <= 1);
    };
    if (!goesOn(halvings)) halvings = GAINS.find(goesOn) ?? halvings;
    const found = codes(left, right, halvings);
    if (found === null) {
      foreign.push(at);
      continue;
    }
    music.add(found[0], at);
    voice.add(found[1], at);
    const gain = 2 ** -halvings;
    if (found[0] !== 0 && gains.at(-1)?.gain !== gain) gains.push({ gain, from: at });
  }
  return { music, voice, gains, foreign };
}
