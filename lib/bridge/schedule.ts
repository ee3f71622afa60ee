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
