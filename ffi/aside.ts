// SPDX-License-Identifier: Apache-2.0
/**
 * System calls that can wait for somebody else, made in threads of their own: a Worker, whose loop blocks, leaves them to
 * its owner.
 *
 * Closing descriptors that a peer sent: the last close of a TCP socket blocks until its bytes are sent if a holder asked for
 * that (SO_LINGER), and a close of a file in FUSE or NFS blocks until its server answers. A few are closed at a time.
 *
 * Binding and closing CAN sockets: the kernel does that with its lock of all network interfaces, which a driver holds while it
 * waits for its controller to be started or stopped. A device in the same kernel that waited for the lock would never
 * answer.
 *
 * Calls of I2C adapters: they wait for the bus, and for a chip that holds it.
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
let leave: ((task: Aside) => void) | null = null;

/** What is left to another isolate: a descriptor to close, of a peer; a CAN socket to bind; or a call of an I2C adapter. */
export type Aside =
  | { readonly close: number; readonly peer: string }
  | { readonly i2c: number; readonly call: I2cCall }
  | { readonly bind: number; readonly binding: CanBinding };

/** How a CAN socket is bound. */
export interface CanBinding {
  /** The interface's number. */
  readonly to: number;
  /** The kinds of error frames that are received (CAN_ERR_MASK). */
  readonly errors: number;
  /** An eventfd that is signalled when it is done: by 1, or 1 + errno. */
  readonly done: number;
}

/** A call of an I2C adapter. */
export interface I2cCall {
  /**
   * i32 result; from {@linkcode I2C_CALL_MESSAGES} on u16 address, flags and length of each message; from
   * {@linkcode I2C_CALL_DATA} on their bytes, or the data of a call of SMBus.
   */
  readonly memory: SharedArrayBuffer;
  /** How many messages there are, or a call of SMBus: address, read, command, size. */
  readonly what: number | readonly [number, number, number, number];
  /** An eventfd that is signalled when the result is there. */
  readonly done: number;
}

/** Offsets in {@linkcode I2cCall.memory}. */
export const I2C_CALL_MESSAGES = 4;
/** @see {@linkcode I2C_CALL_MESSAGES} */
export const I2C_CALL_DATA = 256;

/** Hands what this isolate would do aside to another isolate. */
export function leaveAside(to: (task: Aside) => void): void {
  leave = to;
}

/** Does what another isolate left to this one. */
export function doAside(task: Aside): void {
  if ("close" in task) closeAside(task.close, task.peer);
  else if ("i2c" in task) i2cAside(task.i2c, task.call);
  else bindAside(task.bind, task.binding);
}

/**
 * Binds a CAN socket without blocking this thread.
 *
 * @param number An open CAN socket that nobody else owns, and so is `done`: both are closed
 */
export function bindAside(number: number, binding: CanBinding): void {
  if (leave !== null) return leave({ bind: number, binding });
  const { to, errors, done } = binding;
  void shim.viola_can_bind(number, to, errors).then((result) => {
    shim.viola_write(done, new Uint8Array(BigUint64Array.of(BigInt(1 - result)).buffer), 0, 8);
    shim.viola_close(done);
    closeAside(number, `CAN interface ${to}`);
  });
}

/**
 * Makes a call of an I2C adapter without blocking this thread. Its memory is not to be touched until it is done.
 *
 * @param number An open adapter that nobody else owns, and so is `done`: both are closed
 */
export function i2cAside(number: number, call: I2cCall): void {
  if (leave !== null) return leave({ i2c: number, call });
  const { memory, what, done } = call;
  // Deno passes the address of a view of a SharedArrayBuffer as well; only its types say ArrayBuffer.
  const data = new Uint8Array(memory, I2C_CALL_DATA) as unknown as Uint8Array<ArrayBuffer>;
  const messages = new Uint8Array(memory, I2C_CALL_MESSAGES) as unknown as Uint8Array<ArrayBuffer>;
  const made = typeof what === "number"
    ? shim.viola_i2c_transfer(number, messages, what, data)
    : shim.viola_i2c_smbus(number, ...what, data);
  void made.then((result) => {
    // After what was read, and before the signal: who sees the signal sees both.
    Atomics.store(new Int32Array(memory, 0, 1), 0, result);
    shim.viola_eventfd_signal(done);
    shim.viola_close(done);
    shim.viola_close(number);
  });
}

/**
 * Closes a descriptor without blocking this thread.
 *
 * @param number An open descriptor that nobody else owns
 * @param peer The name of the peer that sent it, see {@linkcode closesPending}
 */
export function closeAside(number: number, peer: string): void {
  if (leave !== null) return leave({ close: number, peer });
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
