// SPDX-License-Identifier: Apache-2.0
/**
 * Descriptors that another process sent.
 *
 * @module
 */
import { closeAside } from "./aside.ts";
import { Fd } from "./fd.ts";
import { shim } from "./symbols.ts";
import { readSystemLink } from "./system.ts";

/** A descriptor that is closed without blocking this thread, whatever it is. */
export class PeerFd extends Fd {
  /** @param peer The name of the peer that sent it, such as its socket's path */
  constructor(number: number, readonly peer: string) {
    super(number);
  }

  /** Closes it, at once if that cannot block, else in another thread; a second close does nothing. */
  override close(): void {
    if (this.closed) return;
    const number = this.release();
    if (closesAtOnce(number)) shim.viola_close(number);
    else closeAside(number, this.peer);
  }
}

/**
 * Whether it is a file in memory (no other has seals) or an eventfd. Everything else may block: fstat(2) and fstatfs(2),
 * which would tell more, block on a file whose server does not answer, and a pipe's close on its lock, which a peer can hold.
 */
function closesAtOnce(number: number): boolean {
  return shim.viola_seals(number) >= 0 ||
    readSystemLink(`/proc/self/fd/${number}`) === "anon_inode:[eventfd]";
}
