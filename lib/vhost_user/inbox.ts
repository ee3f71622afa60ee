// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a front-end's messages, each of which must be complete within a deadline.
 *
 * @module
 */
import type { Clock, UnixSocket } from "../../ffi/mod.ts";
import { VhostUserError } from "./errors.ts";
import { MessageReader, type RawMessage } from "./framing.ts";

/** Deadline for the rest of a message, in nanoseconds; a working front-end sends a message at once. */
const MESSAGE_NS = 5e9;

/** Reads requests. */
export class Inbox {
  readonly #reader: MessageReader;
  /** The deadline of the incomplete message; Infinity when there is none. */
  #deadline = Infinity;

  /**
   * @param peer The sender, for errors
   * @param clock Used by this object alone until it is closed
   * @param onLate Called when a message is still incomplete at its deadline
   */
  constructor(
    socket: UnixSocket,
    peer: string,
    readonly clock: Clock,
    readonly onLate: (error: VhostUserError) => void,
  ) {
    this.#reader = new MessageReader(socket, "requests", peer);
    clock.onAlarm = () => this.#giveUp();
  }

  /** Whether no byte of the next message has arrived. */
  get idle(): boolean {
    return this.#reader.idle;
  }

  /**
   * Reads the next message; null while it is incomplete. The deadline starts with its first byte, and later bytes do not
   * extend it.
   *
   * @throws {VhostUserError} as {@linkcode MessageReader.next}
   */
  next(): RawMessage | null {
    const message = this.#reader.next();
    if (message !== null || this.#reader.idle) this.#time(Infinity);
    else if (this.#deadline === Infinity) this.#time(this.clock.now() + MESSAGE_NS);
    return message;
  }

  /** Clears the deadline, and closes the descriptors of an incomplete message. */
  close(): void {
    this.#time(Infinity);
    this.#reader.discard();
  }

  #time(deadline: number): void {
    if (deadline === this.#deadline) return;
    this.#deadline = deadline;
    this.clock.arm(deadline);
  }

  #giveUp(): void {
    if (this.#reader.idle) return;
    const text = `${this.#reader.received} came within ${MESSAGE_NS / 1e9} s, expected all`;
    this.onLate(
      new VhostUserError("late", `Cannot read a message from ${this.#reader.peer}: ${text}`),
    );
  }
}
