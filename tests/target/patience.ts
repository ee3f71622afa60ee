// SPDX-License-Identifier: Apache-2.0
/**
 * When a machine is to be given up, whatever else the host does: by the machine's own time, which it tells with each sign of
 * life, and by the processor time that the emulator uses between two of them. A scenario's limit is kept in the machine;
 * this is for one that does not keep it any more, so it is generous.
 *
 * @module
 */

/** Seconds of the machine's own that a scenario may take beyond its limit: what ends it, and cleans up behind it. */
const GRACE = 60;
/** A sign of life comes every ten seconds of the machine's. While all of them are work, that takes some 200 of the host's. */
const SILENT_PROCESSOR_SECONDS = 1200;
/** An emulator that uses less than a second of the processor in so many seconds waits for something that never comes. */
const IDLE_SECONDS = 300;

/** What an emulator has used. */
export interface Usage {
  /** Seconds by the wall clock, from any moment. */
  readonly wall: number;
  /** Seconds of processor time, of all its threads. */
  readonly processor: number;
}

/** Watches one machine. */
export class Patience {
  #began: Usage;
  #alive: Usage;
  #active: Usage;
  /** The machine's time: at the last sign of life, and at the first since something began. */
  #uptime = 0;
  #since: number | null = null;
  #limit = Infinity;

  /** @param now What the emulator has used up to now */
  constructor(now: Usage) {
    this.#began = now;
    this.#alive = now;
    this.#active = now;
  }

  /**
   * Something else begins, and the machine lives.
   *
   * @param limit In the machine's seconds
   * @returns seconds of processor time that what ends has taken
   */
  begin(limit: number, now: Usage): number {
    const took = now.processor - this.#began.processor;
    this.#limit = limit;
    this.#since = null;
    this.#began = now;
    this.#alive = now;
    return took;
  }

  /** A sign of life. @param uptime Seconds that the machine has been up */
  alive(uptime: number, now: Usage): void {
    this.#uptime = uptime;
    this.#since ??= uptime;
    this.#alive = now;
  }

  /** Why it is time to give up, or null. */
  judge(now: Usage): string | null {
    if (now.processor - this.#active.processor >= 1) this.#active = now;
    const took = this.#uptime - (this.#since ?? this.#uptime);
    if (took > this.#limit + GRACE) {
      return `not ended after ${took.toFixed(0)} s, where its limit is ${this.#limit} s`;
    }
    const silent = now.processor - this.#alive.processor;
    if (silent > SILENT_PROCESSOR_SECONDS) {
      return `no sign of life while the emulator used ${silent.toFixed(0)} s of processor time`;
    }
    const idle = now.wall - this.#active.wall;
    if (idle > IDLE_SECONDS) return `the emulator has done nothing for ${idle.toFixed(0)} s`;
    return null;
  }
}

/** What a process of this host has used: proc(5), utime and stime. @returns null when it is gone */
export function usageOf(pid: number): Usage | null {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name, second of all, may hold anything: what follows is counted from its last bracket.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    return { wall: performance.now() / 1000, processor: ticks / 100 };
  } catch {
    return null;
  }
}
