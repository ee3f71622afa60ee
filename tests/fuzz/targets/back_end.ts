// SPDX-License-Identifier: Apache-2.0
/**
 * Sessions of a back-end of viola's with a front-end that sends messages in any order, with any values, descriptors of
 * any kind, cut anywhere, and rings that hold anything. Replies answer what was asked, in order; the device's rings start
 * and stop in turn; the first message that is refused ends the session; and nothing is left of it: no descriptor, no
 * mapping.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  createPipe,
  type Fd,
  PeerSignal,
  signalEvent,
  UnixSocket,
  Watches,
} from "../../../ffi/mod.ts";
import { VhostUserError } from "../../../lib/vhost_user/errors.ts";
import { MessageReader } from "../../../lib/vhost_user/framing.ts";
import {
  encodeMessage,
  FRONT_END_MESSAGES,
  FRONT_END_NAMES,
  type FrontEndMessage,
  type MessageRow,
  NEED_REPLY,
  protocolFeatures,
  VERSION,
} from "../../../lib/vhost_user/messages.ts";
import { FrontEndSession } from "../../../lib/vhost_user/session.ts";
import { MemoryError, RingError } from "../../../lib/virtio/error.ts";
import { FakeClock } from "../../device/wiring.ts";
import { Driver, EchoDevice } from "../../vhost_user/harness.ts";
import {
  ANY_U32,
  ANY_U64,
  anyBytes,
  expectError,
  mostly,
  target,
  type Verdict,
  withNothingLeft,
} from "../target.ts";

/** One for all sessions: the kernel takes 30 ms to free it. */
const SIGNAL = PeerSignal.create();

type Kind = "memory" | "kick" | "call" | "pipe" | "socket";

type Step =
  | { do: "send"; name: FrontEndMessage; body: Uint8Array; fds: Kind[]; flags: number }
  /** A message in two parts, or only its beginning. */
  | { do: "bytes"; bytes: Uint8Array }
  | { do: "offer"; queue: number; text: string }
  | { do: "noise"; at: number; bytes: Uint8Array }
  /** All rings have one kick eventfd. */
  | { do: "kick" }
  | { do: "pass"; ms: number };

const QUEUES = 2;
const BIT_30 = 1n << 30n;
const ALL = protocolFeatures(
  "MQ",
  "REPLY_ACK",
  "CONFIG",
  "BACKEND_REQ",
  "RESET_DEVICE",
  "INFLIGHT_SHMFD",
);
/** As the driver in the harness has it. */
const USER = 0x7f00_0000_0000n;
const GUEST = 0x4000_0000n;
const BYTES = 0x1_0000n;

/** Of so many values one is wrong. */
const ODD = 100;

/** What a message is when it is right, and what it is now and then. */
const index = mostly(fc.nat({ max: QUEUES - 1 }), ANY_U32, ODD);
const region = fc.record({
  guest: mostly(fc.constant(GUEST), ANY_U64, ODD),
  size: mostly(fc.constant(BYTES), ANY_U64, ODD),
  user: mostly(fc.constant(USER), ANY_U64, ODD),
  offset: mostly(fc.constant(0n), ANY_U64, ODD),
});
const part = (index: fc.Arbitrary<number>, offset: bigint): fc.Arbitrary<bigint> =>
  mostly(index.map((i) => USER + 0x2000n * BigInt(i) + offset), ANY_U64, ODD);
const vringFd = (index: fc.Arbitrary<number>): fc.Arbitrary<unknown> =>
  fc.record({ index, noFd: fc.nat({ max: ODD }).map((n) => n === ODD) });
const config = fc.record({
  offset: mostly(fc.nat({ max: 8 }), ANY_U32, ODD),
  flags: fc.nat({ max: 1 }),
  data: anyBytes(4),
});
/** For both queues, with 16 entries each: 320 bytes, or a multiple of it. */
const inflight = fc.record({
  size: mostly(fc.constantFrom(640n, 320n, 4096n), ANY_U64, ODD),
  offset: mostly(fc.constantFrom(0xc000n, 0n), ANY_U64, ODD),
  queues: mostly(fc.constantFrom(2, 2, 1), fc.nat({ max: 0xffff }), ODD),
  queueSize: mostly(fc.constantFrom(16, 16, 64), fc.nat({ max: 0xffff }), ODD),
});
const NOTHING = fc.constant(undefined);
type Bodies = Partial<
  Record<FrontEndMessage, (index: fc.Arbitrary<number>) => fc.Arbitrary<unknown>>
>;
const BODIES: Bodies = {
  GET_FEATURES: () => NOTHING,
  SET_FEATURES: () =>
    mostly(mostly(fc.constant((1n << 32n) | BIT_30), fc.constant(1n << 32n)), ANY_U64, ODD),
  SET_OWNER: () => NOTHING,
  GET_PROTOCOL_FEATURES: () => NOTHING,
  SET_PROTOCOL_FEATURES: () => mostly(mostly(fc.constant(ALL), fc.constant(0n)), ANY_U64, ODD),
  GET_QUEUE_NUM: () => NOTHING,
  SET_MEM_TABLE: () => mostly(region.map((one) => [one]), fc.array(region, { maxLength: 8 }), ODD),
  SET_VRING_NUM: (index) =>
    fc.record({ index, num: mostly(fc.constantFrom(16, 16, 1, 64), ANY_U32, ODD) }),
  SET_VRING_BASE: (index) => fc.record({ index, num: mostly(fc.constant(0), ANY_U32, ODD) }),
  SET_VRING_ADDR: (index) =>
    fc.record({
      index,
      flags: fc.constant(0),
      desc: part(index, 0n),
      avail: part(index, 0x100n),
      used: part(index, 0x128n),
      log: fc.constant(0n),
    }),
  SET_VRING_KICK: vringFd,
  SET_VRING_CALL: vringFd,
  SET_VRING_ERR: vringFd,
  SET_VRING_ENABLE: (index) =>
    fc.record({ index, num: mostly(fc.constantFrom(0, 1, 1, 1), ANY_U32, ODD) }),
  GET_VRING_BASE: (index) => fc.record({ index, num: fc.constant(0) }),
  GET_CONFIG: () => config,
  SET_CONFIG: () => config,
  SET_BACKEND_REQ_FD: () => NOTHING,
  RESET_DEVICE: () => NOTHING,
  GET_INFLIGHT_FD: () => inflight,
  SET_INFLIGHT_FD: () => inflight,
};
/** What usually comes with a message. */
const FDS: Partial<Record<FrontEndMessage, Kind>> = {
  SET_MEM_TABLE: "memory",
  SET_VRING_KICK: "kick",
  SET_VRING_CALL: "call",
  SET_VRING_ERR: "call",
  SET_BACKEND_REQ_FD: "socket",
  SET_INFLIGHT_FD: "memory",
};
const KINDS: Kind[] = ["memory", "kick", "call", "pipe", "socket"];

function sent(name: FrontEndMessage, of: fc.Arbitrary<number> = index): fc.Arbitrary<Step> {
  const row = FRONT_END_MESSAGES[name] as MessageRow;
  const right = BODIES[name]!(of).map((value) => row.body.encode(value));
  const usual: Kind[] = FDS[name] === undefined ? [] : [FDS[name]];
  return fc.record({
    do: fc.constant("send" as const),
    name: fc.constant(name),
    body: mostly<Uint8Array>(right, anyBytes(60), 2 * ODD),
    fds: mostly(fc.constant(usual), fc.array(fc.constantFrom(...KINDS), { maxLength: 3 }), 2 * ODD),
    flags: mostly(fc.constantFrom(VERSION, VERSION | NEED_REPLY), ANY_U32, 2 * ODD),
  });
}

const NAMES = Object.keys(BODIES) as FrontEndMessage[];
/** Those that do not fail because of what was before. */
const USUAL: FrontEndMessage[] = [
  ...(["GET_FEATURES", "GET_QUEUE_NUM", "GET_CONFIG", "SET_CONFIG", "SET_BACKEND_REQ_FD"] as const),
  ...(["SET_VRING_CALL", "SET_VRING_ERR", "SET_VRING_ENABLE", "GET_VRING_BASE"] as const),
  ...(["SET_MEM_TABLE", "RESET_DEVICE", "GET_INFLIGHT_FD"] as const),
];
/** A ring is stopped, set up and started. */
const ring = index.chain((one) => {
  const of = fc.constant(one);
  return fc.tuple(
    sent("GET_VRING_BASE", of),
    sent("SET_VRING_NUM", of),
    sent("SET_VRING_ADDR", of),
    sent("SET_VRING_CALL", of),
    sent("SET_VRING_KICK", of),
    sent("SET_VRING_ENABLE", of),
  );
});
/** What a front-end usually begins with. */
const opening = fc.tuple(
  sent("SET_PROTOCOL_FEATURES"),
  sent("SET_FEATURES"),
  sent("SET_MEM_TABLE"),
  mostly<Step[]>(fc.constant([]), sent("SET_INFLIGHT_FD").map((one) => [one]), 2),
  ring,
).map((all) => all.flat());
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: mostly(fc.constantFrom(...USUAL), fc.constantFrom(...NAMES), 30).chain((name) =>
      sent(name)
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("offer" as const),
      queue: fc.nat({ max: QUEUES - 1 }),
      text: fc.string({ minLength: 1, maxLength: 20 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("noise" as const),
      at: mostly(fc.nat({ max: 0x200 }), fc.nat({ max: 0x3000 })),
      bytes: anyBytes(20),
    }),
  },
  { weight: 4, arbitrary: fc.constant<Step>({ do: "kick" }) },
  fc.record({ do: fc.constant("pass" as const), ms: fc.nat({ max: 10_000 }) }),
);
const bytes: fc.Arbitrary<Step> = fc.record({
  do: fc.constant("bytes" as const),
  bytes: anyBytes(30),
});
const one = mostly(mostly<Step[]>(step.map((one) => [one]), ring), bytes.map((one) => [one]), ODD);
const input = fc.tuple(
  mostly<Step[]>(opening, fc.constant([])),
  fc.array(one, { maxLength: 25, size: "max" }),
).map(([opening, steps]) => [...opening, ...steps.flat()]);

/** A device that demands of the session what {@linkcode BackEndDevice} promises. */
class StrictDevice extends EchoDevice {
  override queueCount = QUEUES;
  readonly running = new Set<number>();

  override startRing(ring: Parameters<EchoDevice["startRing"]>[0]): void {
    assert(!this.running.has(ring.index), `ring ${ring.index} was started twice`);
    this.running.add(ring.index);
    super.startRing(ring);
  }

  override stopRing(index: number, abandoned: boolean): void {
    assert(this.running.delete(index), `ring ${index} was stopped, and did not run`);
    super.stopRing(index, abandoned);
  }

  override disconnected(): void {
    assertEquals([...this.running], [], "rings that run without a front-end");
    super.disconnected();
  }
}

/** A session, its front-end, and what must hold. */
class Run implements Disposable {
  readonly #watches = new Watches();
  readonly #device = new StrictDevice();
  readonly #driver = new Driver(QUEUES);
  readonly #clock = new FakeClock();
  readonly #ours: UnixSocket;
  readonly #session: FrontEndSession;
  readonly #replies: MessageReader;
  readonly #spare: Fd[] = [];
  /** Requests that were sent, in order, after the last one that was answered. */
  readonly #asked: number[] = [];
  /** Whether all that was sent are messages: only then is it known what was asked. */
  #isFramed = true;
  #ends = 0;
  errors = 0;

  constructor() {
    const [ours, theirs] = UnixSocket.pair();
    this.#ours = ours;
    this.#replies = new MessageReader(ours, "replies", "the session");
    this.#session = new FrontEndSession(theirs, {
      watches: this.#watches,
      device: this.#device,
      clock: this.#clock,
      signal: SIGNAL,
      report: (error) => this.#report(error),
      notice: () => {},
      onEnd: () => this.#ends++,
    });
  }

  take(step: Step): void {
    if (step.do === "send") this.#send(step);
    else if (step.do === "bytes") this.#bytes(step.bytes);
    else if (step.do === "noise") this.#driver.bytes.set(step.bytes, step.at);
    else if (step.do === "kick") signalEvent(this.#driver.kicks[0]!.number);
    else if (step.do === "pass") this.#clock.pass(step.ms);
    else this.#offer(step.queue, step.text);
    this.#settle();
    this.#readReplies();
    assert(this.#ends <= 1, "the session ended twice");
  }

  #report(error: Error): void {
    expectError(error, VhostUserError, RingError, MemoryError);
    this.errors++;
  }

  #send({ name, body, fds, flags }: Step & { do: "send" }): void {
    const { request } = FRONT_END_MESSAGES[name] as MessageRow;
    this.#asked.push(request);
    this.#write(encodeMessage(request, flags, body), fds.map((kind) => this.#descriptor(kind)));
  }

  #bytes(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#isFramed = false;
    this.#write(bytes.slice(), []);
  }

  /** To one that has hung up, nothing can be sent. */
  #write(bytes: Uint8Array<ArrayBuffer>, fds: number[]): void {
    if (this.#ends === 0) this.#ours.send(bytes, 0, bytes.length, fds);
  }

  #descriptor(kind: Kind): number {
    if (kind === "memory") return this.#driver.fd.number;
    if (kind === "kick") return this.#driver.kicks[0]!.number;
    if (kind === "call") return this.#driver.calls[0]!.number;
    const pair = kind === "pipe" ? Object.values(createPipe()) : UnixSocket.pair();
    this.#spare.push(...pair);
    return pair[0]!.number;
  }

  #offer(queue: number, text: string): void {
    const { freeCount } = this.#driver.queues[queue]!;
    if (freeCount >= 2) this.#driver.offer(queue, text.slice(0, 20));
  }

  /** Serves what is there, until nothing is. */
  #settle(): void {
    for (let turns = 0; turns < 1000; turns++) {
      const n = this.#watches.epoll.wait(0);
      if (n === 0) return;
      this.#watches.dispatch(n);
    }
    throw new Error("The session does not come to rest");
  }

  /** Each reply is to a request that was sent, in the order in which they were. */
  #readReplies(): void {
    try {
      for (let reply = this.#replies.next(); reply !== null; reply = this.#replies.next()) {
        const name = FRONT_END_NAMES.get(reply.request);
        const most = name === undefined ? 0 : (FRONT_END_MESSAGES[name] as MessageRow).replyFds;
        assert(reply.fds.length <= most, `${reply.fds.length} descriptors in reply to ${name}`);
        for (const fd of reply.fds) fd.close();
        if (!this.#isFramed) continue;
        const at = this.#asked.indexOf(reply.request);
        assert(at >= 0, `a reply to ${name}, which was not asked`);
        this.#asked.splice(0, at + 1);
      }
    } catch (error) {
      expectError(error, VhostUserError);
      assertEquals((error as VhostUserError).fault, "lost", (error as Error).message);
      assertEquals(this.#ends, 1, "the session hung up, and did not say so");
    }
  }

  [Symbol.dispose](): void {
    this.#session.close();
    assertEquals([...this.#device.running], [], "rings that run after the end");
    for (const fd of [...this.#spare, this.#ours]) fd.close();
    this.#driver[Symbol.dispose]();
    this.#watches.close();
  }
}

function judge(steps: Step[]): Verdict {
  using run = new Run();
  for (const step of steps) run.take(step);
  return run.errors === 0 ? "accepted" : "refused";
}

/** See the module. */
export const BACK_END_SESSIONS = target(
  "back-end's session",
  input,
  (one) => withNothingLeft(() => judge(one)),
);
