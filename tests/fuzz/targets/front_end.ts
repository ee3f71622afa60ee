// SPDX-License-Identifier: Apache-2.0
/**
 * The front-end with a back-end that answers anything: other values, other sizes, half a reply, descriptors, nothing. What
 * the front-end believes is always within what was asked and agreed; what it does not believe ends the connection once,
 * with an error of its own; and no descriptor is left.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Reactor } from "../../../ffi/mod.ts";
import { VhostUserError } from "../../../lib/vhost_user/errors.ts";
import { FrontEnd, INFLIGHT_MARGIN } from "../../../lib/vhost_user/front_end.ts";
import type { Setup } from "../../../lib/vhost_user/front_end_types.ts";
import { inflightBytes } from "../../../lib/vhost_user/inflight.ts";
import {
  encodeMessage,
  FRONT_END_MESSAGES,
  type FrontEndMessage,
  hasProtocolFeature,
  type MessageRow,
  protocolFeatures,
  REPLY,
  VERSION,
} from "../../../lib/vhost_user/messages.ts";
import { Driver, SocketFolder, SOUND, VERSION_1 } from "../../vhost_user/harness.ts";
import {
  type Behaviour,
  type Fault,
  FAULTS,
  HostileBackEnd,
  ODDITIES,
} from "../../vhost_user/hostile_back_end.ts";
import {
  ANY_U64,
  anyBytes,
  expectError,
  mostly,
  target,
  type Verdict,
  withNothingLeft,
} from "../target.ts";

interface Lie {
  /** Instead of a reply to this. */
  message: FrontEndMessage;
  kind: string;
  fault: Fault;
}

interface Input {
  features: bigint;
  protocolFeatures: bigint;
  queueCount: bigint;
  config: Uint8Array;
  lies: Lie[];
  /** Whether requests in flight are tracked. */
  tracksInflight: boolean;
  /** Sent on the channel, once there is one. */
  channel: Uint8Array;
}

/** Deadline for a reply, in milliseconds: silence is tried, too. */
const DEADLINE_MS = 40;
const RINGS = 4;
const WANTED = protocolFeatures("MQ", "REPLY_ACK", "CONFIG", "BACKEND_REQ", "RESET_DEVICE");
const ALL = WANTED | protocolFeatures("INFLIGHT_SHMFD");
/** What in-flight memory is asked for, and how much more than it takes may be answered. */
const SHAPE = { queues: RINGS, queueSize: 16 };

const NAMED = { ...ODDITIES, ...FAULTS.lost, ...FAULTS.protocol };
const SILENT = FAULTS.late;

const reply = (request: number, body: Uint8Array): Uint8Array<ArrayBuffer> =>
  encodeMessage(request, VERSION | REPLY, body);

/** A lie with what was drawn in its name, so that a failure shows it. */
const lie: fc.Arbitrary<Omit<Lie, "message">> = fc.oneof(
  mostly(
    fc.constantFrom(...Object.entries(NAMED)),
    fc.constantFrom(...Object.entries(SILENT)),
    30,
  ).map(([kind, fault]) => ({ kind, fault })),
  anyBytes(40).map((bytes) => ({
    kind: `replies with ${bytes.toHex()}`,
    fault: (back: HostileBackEnd, request: number) => back.send(reply(request, bytes)),
  })),
  fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 255 })).map(([at, byte]) => ({
    kind: `puts ${byte} at ${at}`,
    fault: (back: HostileBackEnd, request: number, body: Uint8Array) => {
      const bytes = reply(request, body);
      bytes[at % bytes.length] = byte;
      back.send(bytes);
    },
  })),
  ANY_U64.map((value) => ({
    kind: `puts ${value} first`,
    fault: (back: HostileBackEnd, request: number, body: Uint8Array) => {
      const bytes = reply(request, body);
      if (body.length >= 8) new DataView(bytes.buffer).setBigUint64(12, value, true);
      back.send(bytes);
    },
  })),
);
const NAMES = Object.keys(FRONT_END_MESSAGES) as FrontEndMessage[];
const ASKED: FrontEndMessage[] = [
  ...(["GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "SET_OWNER"] as const),
  ...(["SET_BACKEND_REQ_FD", "GET_CONFIG", "SET_CONFIG", "SET_FEATURES"] as const),
  ...(["SET_MEM_TABLE", "SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR"] as const),
  ...(["SET_VRING_CALL", "SET_VRING_KICK", "SET_VRING_ENABLE", "GET_VRING_BASE"] as const),
  "RESET_DEVICE",
  "GET_INFLIGHT_FD",
  "SET_INFLIGHT_FD",
];

const input: fc.Arbitrary<Input> = fc.record({
  features: mostly(fc.constant(0x1_4000_0000n), ANY_U64),
  protocolFeatures: mostly(fc.constant(ALL), ANY_U64),
  queueCount: mostly(fc.constant(4n), ANY_U64),
  config: mostly<Uint8Array>(fc.constant(new Uint8Array(12)), anyBytes(30), 12),
  lies: fc.array(
    fc.tuple(fc.constantFrom(...ASKED), lie).map(([message, one]) => ({ message, ...one })),
    { maxLength: 2 },
  ),
  tracksInflight: fc.boolean(),
  channel: mostly<Uint8Array>(
    fc.constantFrom(new Uint8Array(), encodeMessage(2, VERSION, new Uint8Array())),
    anyBytes(40),
  ),
});

/** A front-end, its back-end, and what must hold. */
class Run implements AsyncDisposable {
  readonly #reactor = new Reactor();
  readonly #folder = new SocketFolder();
  readonly #back: HostileBackEnd;
  readonly #driver = new Driver(RINGS);
  readonly #losses: VhostUserError[] = [];
  #front: FrontEnd | null = null;

  constructor(readonly input: Input) {
    const { features, protocolFeatures, queueCount, config, lies } = input;
    const faults = Object.fromEntries(lies.map(({ message, fault }) => [message, fault]));
    const behaviour: Behaviour = { features, protocolFeatures, queueCount, config, faults };
    this.#back = new HostileBackEnd(this.#reactor, this.#folder.socket("device"), behaviour);
  }

  /** All that viola ever asks. */
  async converse(): Promise<Verdict> {
    const front = this.#front = await FrontEnd.connect(this.#folder.socket("device"), {
      reactor: this.#reactor,
      name: "card0",
      deviceClass: SOUND,
      deadlineMs: DEADLINE_MS,
      tracksInflight: this.input.tracksInflight,
      onLost: (error) => this.#losses.push(error),
    });
    try {
      await this.#steps(front);
    } catch (error) {
      expectError(error, VhostUserError);
      await this.#checkLost(front, error as VhostUserError);
      return "refused";
    } finally {
      this.#checkAsked();
    }
    return "accepted";
  }

  async #steps(front: FrontEnd): Promise<void> {
    await front.initialise();
    this.#checkProfile(front);
    const { channel } = this.#back;
    const { channel: bytes } = this.input;
    // Lost already, by what came behind the last reply: then the channel is closed, and what follows says so.
    if (bytes.length > 0 && this.#losses.length === 0) {
      channel?.send(bytes.slice(), 0, bytes.length, []);
    }
    await front.readConfig();
    await front.writeConfig(4, Uint8Array.of(1, 2));
    this.#checkProfile(front);
    const rings = this.#driver.rings();
    await front.start({
      features: VERSION_1,
      memory: this.#driver.memory,
      rings,
      inflight: await this.#inflight(front),
    });
    const bases = await front.stop();
    assertEquals(bases.map(({ index }) => index), rings.map(({ index }) => index));
    assert(bases.every(({ base }) => base >= 0 && base <= 0xffff), "expected indices of 16 bits");
    await front.resetDevice();
    await front.ping();
  }

  /** In-flight memory, where it is tracked: no more of it than is sensible. */
  async #inflight(front: FrontEnd): Promise<Setup["inflight"]> {
    if (!front.profile.tracksInflight) return undefined;
    const size = await front.inflightSize(SHAPE);
    const least = inflightBytes(SHAPE);
    assert(size >= least && size <= least + INFLIGHT_MARGIN, `${size} bytes of in-flight memory`);
    return { ...SHAPE, size, fd: this.#driver.fd.number };
  }

  /** What a front-end knows of a back-end is what a card can be. */
  #checkProfile({ profile }: FrontEnd): void {
    const { features, protocolFeatures, queueCount, config } = profile;
    const { min, max } = SOUND.config;
    assertEquals(features & 1n << 30n, 0n);
    assertEquals(protocolFeatures & ~(this.input.tracksInflight ? ALL : WANTED), 0n);
    assert(queueCount >= RINGS && queueCount <= 256, `${queueCount} queues`);
    assert(config.length >= min && config.length <= max, `${config.length} bytes of config`);
  }

  /** The connection ended once, and everything asked of it now fails as it did. */
  async #checkLost(front: FrontEnd, error: VhostUserError): Promise<void> {
    assertEquals(this.#losses.length, 1, "expected one loss");
    const again = await front.ping().then(() => null, (reason) => reason);
    assert(again === error || again === this.#losses[0], `expected the same error: ${again}`);
  }

  /** Nothing is asked that was not agreed on. */
  #checkAsked(): void {
    const { lies, protocolFeatures } = this.input;
    if (lies.some(({ message }) => message.startsWith("GET_"))) return;
    for (const line of this.#back.log) {
      const name = line.split(" ")[0] as FrontEndMessage;
      assert(NAMES.includes(name), `${name} was asked`);
      const { feature } = FRONT_END_MESSAGES[name] as MessageRow;
      assert(
        feature === null || hasProtocolFeature(protocolFeatures, feature),
        `${name} was asked`,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#front?.close();
    this.#back[Symbol.dispose]();
    await this.#reactor.close();
    this.#driver[Symbol.dispose]();
    this.#folder[Symbol.dispose]();
    assert(this.#losses.length <= 1, `${this.#losses.length} losses`);
  }
}

async function judge(input: Input): Promise<Verdict> {
  await using run = new Run(input);
  return await run.converse();
}

/** See the module. */
export const FRONT_END_REPLIES = target(
  "front-end's replies",
  input,
  (one) => withNothingLeft(() => judge(one)),
);
