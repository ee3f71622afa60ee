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
const MOST_AT_ONCE = 16;
/** Of one peer: its slow closes must not keep another's waiting. */
const MOST_OF_PEER = 2;

/** A descriptor to close, and the name of the peer that sent it. */
interface Close {
  readonly number: number;
  readonly peer: string;
}

const waiting: Close[] = [];
const pending = new Map<string, number>();
/** Closes that have begun, by peer. */
const closing = new Map<string, number>();
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
  add(pending, peer, 1);
  closeNext();
}

function closeNext(): void {
  if (closingCount() === MOST_AT_ONCE) return;
  const at = waiting.findIndex(({ peer }) => (closing.get(peer) ?? 0) < MOST_OF_PEER);
  if (at < 0) return;
  const [{ number, peer }] = waiting.splice(at, 1) as [Close];
  add(closing, peer, 1);
  void shim.viola_close_async(number).finally(() => {
    add(closing, peer, -1);
    add(pending, peer, -1);
    closeNext();
  });
}

function add(counts: Map<string, number>, peer: string, by: number): void {
  const count = (counts.get(peer) ?? 0) + by;
  if (count > 0) counts.set(peer, count);
  else counts.delete(peer);
}

function closingCount(): number {
  return closing.values().reduce((sum, count) => sum + count, 0);
}

/** How many descriptors of a peer (of all peers by default) this isolate has yet to close. */
export function closesPending(peer?: string): number {
  return peer === undefined ? waiting.length + closingCount() : pending.get(peer) ?? 0;
}
