// SPDX-License-Identifier: Apache-2.0
/**
 * Those beside the honest cards, on the same lane: a back-end that is slow, one whose rings lie, one that answers wrongly,
 * a driver that lies, and front-ends that send half a message to the honest cards' devices.
 *
 * @module
 */
import { type Reactor, UnixSocket } from "../../ffi/mod.ts";
import { rng } from "../../lib/classes/mod.ts";
import { startGuest } from "../../lib/guest/mod.ts";
import type { SoftNode } from "../../lib/loopback/mod.ts";
import type { BackEndRing } from "../../lib/vhost_user/back_end.ts";
import type { FrontEndMessage } from "../../lib/vhost_user/messages.ts";
import { HostileGuest, RING_FAULTS } from "../guest/hostile.ts";
import { fill, Filler, hostileRng, type Serve } from "../integration/chain/back_ends.ts";
import { Draws } from "../support/random.ts";
import { FAULTS, type HostileBackEnd } from "../vhost_user/hostile_back_end.ts";

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One of a list. */
export function oneOf<T>(draws: Draws, list: readonly T[]): T {
  return list[draws.integer(list.length)]!;
}

/** A peer that can be told to behave for a while. */
export interface Peer {
  /** Does something that it should not. */
  act(draws: Draws): void;
  /** Behaves from now on, until it acts again. */
  rest(): void;
}

/** Gives nothing back until it is told to. */
const hold: Serve = () => {};

/** Gives buffers back late, some of them very late. */
export class Slow implements Peer {
  constructor(readonly filler: Filler) {}

  act(draws: Draws): void {
    this.filler.serve = hold;
    setTimeout(() => this.filler.look(fill), draws.integer(2000));
  }

  rest(): void {
    this.filler.serve = fill;
    this.filler.look(fill);
  }
}

/** Writes what it likes into the memory that it is given. */
export class Liar implements Peer {
  constructor(readonly filler: Filler) {}

  act(draws: Draws): void {
    // Its own, as it lies when it is kicked: the schedule's draws are the same whenever that is.
    const own = new Draws(draws.word() || 1);
    const lies: Serve[] = [
      hold,
      (live) => scribble(live, own),
      (live) => {
        fill(live);
        scribble(live, own);
      },
    ];
    this.filler.serve = oneOf(draws, lies);
    this.filler.look(oneOf(draws, lies));
  }

  rest(): void {
    this.filler.serve = fill;
    this.filler.end();
  }
}

/** Noise where rings lie, and a call. */
function scribble(live: BackEndRing, draws: Draws): void {
  const { u8 } = live.memory.regions[0]!;
  const bytes = draws.bytes(1 + draws.integer(64));
  u8.set(bytes, draws.integer(Math.min(u8.length, 0x4000) - bytes.length));
  live.call();
}

const ASKED: readonly FrontEndMessage[] = [
  ...(["GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "SET_OWNER"] as const),
  ...(["SET_FEATURES", "SET_MEM_TABLE", "SET_VRING_KICK", "SET_VRING_ENABLE"] as const),
  ...(["GET_VRING_BASE", "RESET_DEVICE"] as const),
];

/** Answers wrongly, late, or not at all. */
export class Malformed implements Peer {
  constructor(readonly back: HostileBackEnd) {}

  act(draws: Draws): void {
    const faults = Object.values(oneOf(draws, Object.values(FAULTS)));
    this.back.behaviour.faults = { [oneOf(draws, ASKED)]: oneOf(draws, faults) };
    this.back.log.length = 0;
    this.back.hangUp();
  }

  rest(): void {
    this.back.behaviour.faults = {};
    this.back.hangUp();
  }
}

/** A slow back-end at a path. */
export function slowAt(reactor: Reactor, path: string): Slow & Disposable {
  const filler = new Filler(reactor, path);
  return Object.assign(new Slow(filler), { [Symbol.dispose]: () => filler[Symbol.dispose]() });
}

/** One whose rings lie. */
export function liarAt(reactor: Reactor, path: string): Liar & Disposable {
  const filler = new Filler(reactor, path);
  return Object.assign(new Liar(filler), { [Symbol.dispose]: () => filler[Symbol.dispose]() });
}

/** One whose messages are malformed. */
export function malformedAt(reactor: Reactor, path: string): Malformed & Disposable {
  const back = hostileRng(reactor, path, {});
  return Object.assign(new Malformed(back), { [Symbol.dispose]: () => back[Symbol.dispose]() });
}

/** Reads entropy at a node for as long as `goesOn`, whatever comes of it. @returns how many bytes came */
export async function readEntropy(node: SoftNode, goesOn: () => boolean): Promise<number> {
  let bytes = 0;
  await using guest = await startGuest(rng, node.wires, { stallTimeoutMs: 2000 });
  while (goesOn()) {
    try {
      await guest.probe(1000);
      while (goesOn()) {
        bytes += (await guest.call("readEntropy", 256)).length;
        await delay(20);
      }
    } catch {
      await guest.reset().catch(() => {});
      await delay(50);
    }
  }
  return bytes;
}

/** Brings a device up and lies to it, for as long as `goesOn`. @returns how many lies were told */
export async function lie(
  node: SoftNode,
  draws: Draws,
  goesOn: () => boolean,
): Promise<number> {
  let lies = 0;
  while (goesOn()) {
    await using guest = await HostileGuest.start(node.wires);
    try {
      while (goesOn()) {
        await guest.bringUp(draws.integer(2) === 0);
        await guest.writeRing(oneOf(draws, RING_FAULTS), 0);
        lies++;
        await delay(draws.integer(100));
        await guest.reset();
      }
    } catch {
      await delay(50); // viola is away, or needs a moment
    }
  }
  return lies;
}

/** A front-end that sends the beginning of a message to a device, and goes after a while. */
export async function sendHalf(path: string, draws: Draws): Promise<void> {
  const bytes = draws.bytes(1 + draws.integer(20));
  const ms = draws.integer(500);
  try {
    using socket = UnixSocket.connect(path);
    socket.send(bytes, 0, bytes.length, []);
    await delay(ms);
  } catch { /* the device is away, or has hung up */ }
}
