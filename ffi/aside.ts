// SPDX-License-Identifier: Apache-2.0
/**
 * Closing descriptors that a peer sent. The last close of a TCP socket blocks until its bytes are sent if a holder asked for
 * that (SO_LINGER), and a close of a file in FUSE or NFS blocks until its server answers. Such descriptors are closed in
 * threads of their own, a few at a time. A Worker, whose loop blocks, leaves them to its owner.
 *
 * @module
 */
import { shim } from "./symbols.ts";

/** The most threads that are blocked in a close at once, of the 32 that the runtime has for blocking calls. */
const MOST_AT_ONCE = 8;

/** A descriptor to close, and the name of the peer that sent it. */
interface Close {
  readonly number: number;
  readonly peer: string;
}

const waiting: Close[] = [];
const pending = new Map<string, number>();
let closing = 0;
let leave: ((number: number, peer: string) => void) | null = null;

/** Hands the descriptors that this isolate would close to another isolate. */
export function leaveCloses(to: (number: number, peer: string) => void): void {
  leave = to;
}

/**
 * Closes a descriptor without blocking this thread.
 *
 * @param number An open descriptor that nobody else owns
 * @param peer The name of the peer that sent it, see {@linkcode closesPending}
 */
export function closeAside(number: number, peer: string): void {
  if (leave !== null) return leave(number, peer);
  waiting.push({ number, peer });
  pending.set(peer, closesPending(peer) + 1);
  closeNext();
}

function closeNext(): void {
  if (closing === MOST_AT_ONCE) return;
  const next = waiting.shift();
  if (next === undefined) return;
  closing++;
  void shim.viola_close_async(next.number).finally(() => {
    closing--;
    const left = closesPending(next.peer) - 1;
    if (left > 0) pending.set(next.peer, left);
    else pending.delete(next.peer);
    closeNext();
  });
}

/** How many descriptors of a peer (of all peers by default) this isolate has yet to close. */
export function closesPending(peer?: string): number {
  return peer === undefined ? waiting.length + closing : pending.get(peer) ?? 0;
}
