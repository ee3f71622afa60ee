// SPDX-License-Identifier: Apache-2.0
/**
 * Scheduling within a lane: highest priority first, round robin among equals.
 *
 * @module
 */

/** A member of a {@linkcode Schedule}. */
export interface Scheduled {
  /** Higher is served first. */
  readonly priority: number;
  /** Whether there is work for it. */
  readonly ready: boolean;
}

/** The members of a lane, in the order in which they are served. */
export class Schedule<T extends Scheduled> {
  readonly #members: T[] = [];

  /** The members, highest priority first. */
  get members(): readonly T[] {
    return this.#members;
  }

  /** Adds a member, behind those of the same priority. */
  add(member: T): void {
    const at = this.#members.findIndex(({ priority }) => priority < member.priority);
    this.#members.splice(at < 0 ? this.#members.length : at, 0, member);
  }

  /** Removes a member. */
  remove(member: T): void {
    const at = this.#members.indexOf(member);
    if (at >= 0) this.#members.splice(at, 1);
  }

  /** Takes the next ready member and moves it behind those of the same priority; null when none is ready. */
  next(): T | null {
    const members = this.#members;
    for (let i = 0; i < members.length; i++) {
      const member = members[i]!;
      if (!member.ready) continue;
      let j = i;
      while (j + 1 < members.length && members[j + 1]!.priority === member.priority) {
        members[j] = members[j + 1]!;
        j++;
      }
      members[j] = member;
      return member;
    }
    return null;
  }
}

/** The pending work of one device's queues, served round robin. */
export class QueueTurns {
  readonly #marks: Uint8Array<ArrayBuffer>;
  #next = 0;
  #ready = false;

  constructor(queues: number) {
    this.#marks = new Uint8Array(queues);
  }

  /** Whether there may be work; false once {@linkcode next} has found none. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Marks work for a queue: up to 8 bits. */
  mark(queue: number, marks: number): void {
    this.#marks[queue]! |= marks;
    this.#ready = true;
  }

  /** The next queue with work, −1 when there is none. */
  next(): number {
    const { length } = this.#marks;
    for (let i = 0; i < length; i++) {
      const queue = this.#next;
      this.#next = (queue + 1) % length;
      if (this.#marks[queue] !== 0) return queue;
    }
    this.#ready = false;
    return -1;
  }

  /** Returns a queue's marks and clears them. */
  take(queue: number): number {
    const marks = this.#marks[queue]!;
    this.#marks[queue] = 0;
    return marks;
  }

  /** Clears all marks. */
  clear(): void {
    this.#marks.fill(0);
    this.#ready = false;
  }
}
