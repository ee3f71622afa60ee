// SPDX-License-Identifier: Apache-2.0
/**
 * Whose turn it is: the highest priority first, round robin among equals.
 *
 * @module
 */

/** Something that waits for its turn. */
export interface Scheduled {
  /** Higher goes first. */
  readonly priority: number;
  /** Whether there is work for it. */
  readonly ready: boolean;
}

/** The members of a lane in the order of their turns. */
export class Schedule<T extends Scheduled> {
  readonly #members: T[] = [];

  /** The members, highest priority first. */
  get members(): readonly T[] {
    return this.#members;
  }

  /** Puts a member behind its equals. */
  add(member: T): void {
    const at = this.#members.findIndex(({ priority }) => priority < member.priority);
    this.#members.splice(at < 0 ? this.#members.length : at, 0, member);
  }

  /** Takes a member out. */
  remove(member: T): void {
    const at = this.#members.indexOf(member);
    if (at >= 0) this.#members.splice(at, 1);
  }

  /** The member whose turn it is, moved behind its equals; null when none is ready. */
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

/** The queues of one device: what there is to do for each, one after the other. */
export class QueueTurns {
  readonly #marks: Uint8Array<ArrayBuffer>;
  #next = 0;
  #ready = false;

  constructor(queues: number) {
    this.#marks = new Uint8Array(queues);
  }

  /** Whether there may be work: it is not until {@linkcode next} finds none. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Notes work for a queue, up to 8 bits of it. */
  mark(queue: number, marks: number): void {
    this.#marks[queue]! |= marks;
    this.#ready = true;
  }

  /** The queue whose turn it is, −1 when none has work. */
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

  /** Takes a queue's work: what was noted for it, and is not any more. */
  take(queue: number): number {
    const marks = this.#marks[queue]!;
    this.#marks[queue] = 0;
    return marks;
  }

  /** Forgets all of it. */
  clear(): void {
    this.#marks.fill(0);
    this.#ready = false;
  }
}
