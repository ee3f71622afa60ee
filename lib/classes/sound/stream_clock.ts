// SPDX-License-Identifier: Apache-2.0
/**
 * The time of a PCM stream: when each buffer ends, and when the stream has an underrun.
 *
 * A running stream has an origin. Each buffer ends at the origin plus all frames since then over the rate, so a deadline
 * that is missed moves no later one, and errors do not add up. The origin moves in three cases only: at START after a pause,
 * by the length of the pause; at an xrun, to the moment when the next buffer arrives; when a sink or source was not ready
 * at a deadline, by how late it was.
 *
 * @module
 */
const NS_PER_SECOND = 1e9;

/** The clock of one stream. Moments and durations are in nanoseconds. */
export class StreamClock {
  /** Frames per second. */
  rate = 1;
  /** Moment from which frames are counted; null: the arrival of the next buffer. */
  #origin: number | null = null;
  /** Frames completed since the origin. */
  #played = 0;
  /** While stopped: time since the origin; null: nothing was being played. */
  #elapsed: number | null = null;
  /** When the last buffer ended, if none has followed yet. */
  #underrunSince: number | null = null;
  #isUnderrunCounted = false;

  /** Forgets the origin and a pause. */
  clear(): void {
    this.#origin = this.#elapsed = null;
  }

  /** Forgets an underrun. */
  clearUnderrun(): void {
    this.#underrunSince = null;
  }

  /** START. @param hasBuffers Whether the stream has any; without, time starts with the first */
  start(now: number, hasBuffers: boolean): void {
    if (this.#elapsed !== null) this.#origin = now - this.#elapsed;
    else this.#setOrigin(hasBuffers ? now : null);
  }

  /** STOP. @param headFrames Frames of the first buffer, null if there is none */
  stop(now: number, headFrames: number | null): void {
    const busy = this.#origin !== null && headFrames !== null;
    this.#elapsed = busy ? Math.min(now, this.endOf(headFrames)) - this.#origin! : null;
    this.clearUnderrun();
  }

  /** The moment at which a buffer of `frames` ends that follows those completed. */
  endOf(frames: number): number {
    return this.#origin! + this.duration(this.#played + frames);
  }

  /** Completes a buffer. @returns when it ended */
  complete(frames: number): number {
    const end = this.endOf(frames);
    this.#played += frames;
    return end;
  }

  /** Moves the end of a buffer of `frames` to `now`, if that is later. */
  delay(now: number, frames: number): void {
    this.#origin! += Math.max(0, now - this.endOf(frames));
  }

  /** The last buffer ended at `end`, and there is no other. */
  ranOut(end: number): void {
    this.#underrunSince = end;
    this.#isUnderrunCounted = false;
  }

  /** A buffer arrived at a running stream that had none. @returns whether that ends an underrun that was not counted */
  bufferArrived(now: number): boolean {
    const since = this.#underrunSince;
    this.#underrunSince = null;
    const late = since !== null && now > since;
    if (late || since === null) this.#setOrigin(now);
    return late && !this.#isUnderrunCounted;
  }

  /** When an underrun is to be counted although no buffer arrives: after a period without any. Infinity: there is none. */
  underrunDeadline(periodFrames: number): number {
    if (this.#underrunSince === null || this.#isUnderrunCounted) return Infinity;
    return this.#underrunSince + this.duration(periodFrames);
  }

  /** Counts an underrun that is due. @returns whether there is one */
  countUnderrun(now: number, periodFrames: number): boolean {
    if (this.underrunDeadline(periodFrames) > now) return false;
    this.#isUnderrunCounted = true;
    return true;
  }

  /** How long frames take. */
  duration(frames: number): number {
    return frames * NS_PER_SECOND / this.rate;
  }

  #setOrigin(moment: number | null): void {
    this.#origin = moment;
    this.#played = 0;
  }
}
