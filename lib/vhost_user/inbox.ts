// SPDX-License-Identifier: Apache-2.0
/**
 * A front-end's messages as they come, each of which has to be whole in time.
 *
 * @module
 */
import type { Clock, UnixSocket } from "../../ffi/mod.ts";
import { VhostUserError } from "./errors.ts";
import { MessageReader, type RawMessage } from "./framing.ts";

/** How long the rest of a message may take, in nanoseconds: front-ends send a message at once, or are not well. */
const MESSAGE_NS = 5e9;

/** Reads requests. */
export class Inbox {
  readonly #reader: MessageReader;
  /** When the message that has begun is given up; Infinity: none has. */
  #deadline = Infinity;

  /**
   * @param peer Whose messages these are, for errors
   * @param clock For this alone until it is closed
   * @param onLate Called when a message that has begun does not become whole in time
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

  /** Whether nothing of the next message is there yet. */
  get idle(): boolean {
    return this.#reader.idle;
  }

  /**
   * The next message, or null while it is not all there. Its time begins with its first bytes, and is its own however
   * many more come meanwhile.
   *
   * @throws {VhostUserError} as {@linkcode MessageReader.next}
   */
  next(): RawMessage | null {
    const message = this.#reader.next();
    if (message !== null || this.#reader.idle) this.#time(Infinity);
    else if (this.#deadline === Infinity) this.#time(this.clock.now() + MESSAGE_NS);
    return message;
  }

  /** Waits for no more of a message that has begun, and closes what came with it. */
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
