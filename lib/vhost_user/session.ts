// SPDX-License-Identifier: Apache-2.0
/**
 * A back-end's connection to one front-end, from accept to close: a handler for each message.
 *
 * @module
 */
import {
  type Clock,
  EPOLLIN,
  EPOLLRDHUP,
  type Fd,
  type PeerSignal,
  PeerSocket,
  type UnixSocket,
  type Watch,
} from "../../ffi/mod.ts";
import {
  hasFeature,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
} from "../virtio/features.ts";
import type { BackEndDevice, Loop } from "./back_end.ts";
import { refusal, VhostUserError } from "./errors.ts";
import { type RawMessage, sendWhole } from "./framing.ts";
import { Inbox } from "./inbox.ts";
import {
  BACK_END_MESSAGES,
  type BodyOf,
  decodeBody,
  encodeMessage,
  FRONT_END_MESSAGES,
  FRONT_END_NAMES,
  type FrontEndMessage,
  hasProtocolFeature,
  type MessageRow,
  NEED_REPLY,
  REPLY,
  type ReplyOf,
  VERSION,
} from "./messages.ts";
import { type Inflight, type Region, U64, type VringFd } from "./payloads.ts";
import {
  checkFeatures,
  checkProtocolFeatures,
  offeredFeatures,
  offeredProtocolFeatures,
  PROTOCOL_FEATURES_BIT,
} from "./session_features.ts";
import { readConfig, writeConfig } from "./session_config.ts";
import { createInflight, SessionInflight } from "./session_inflight.ts";
import { SessionRings } from "./session_rings.ts";
import { SharedMemory } from "./shared_memory.ts";
import type { Vring } from "./vring.ts";

const DONE = 0n;
const FAILED = 1n;

/** How many messages are handled in one turn, before the rings are served again. */
const MESSAGES_PER_TURN = 16;

/** The handlers of the messages. A handler removes the descriptors that it keeps from the array; the others are closed. */
type Handlers = {
  [Name in FrontEndMessage]?: (body: BodyOf<Name>, fds: Fd[]) => ReplyOf<Name>;
};

/** What a {@linkcode FrontEndSession} uses of its server. */
export interface FrontEndSessionHost {
  readonly watches: Loop;
  readonly device: BackEndDevice;
  /** Used by the session alone. */
  readonly clock: Clock;
  /** Signals eventfds that the front-end holds too. */
  readonly signal: PeerSignal;
  /** Called with an error that ended the session or a ring. */
  report(error: Error): void;
  /** Called with a sentence about this front-end for the user. */
  notice(text: string): void;
  /** Called once if the session ends by itself. */
  onEnd(): void;
}

/** The session of one front-end. */
export class FrontEndSession {
  #socket: UnixSocket;
  #inbox: Inbox;
  /** Null when the session has ended. */
  #watch: Watch | null;
  #channel: PeerSocket | null = null;
  #shared: SharedMemory | null = null;
  #inflight: SessionInflight | null = null;
  #features = 0n;
  #agreed = 0n;
  readonly #rings: SessionRings;
  /** A message that stops rings which the device still has chains of: it is handled when they are completed. */
  #held: RawMessage | null = null;

  /** Takes ownership of the socket and serves it. @throws {OsError} and the caller still owns the socket */
  constructor(socket: UnixSocket, readonly host: FrontEndSessionHost) {
    const { watches, device, clock, signal } = host;
    this.#socket = socket;
    const peer = `the front-end of ${device.name}`;
    this.#inbox = new Inbox(socket, peer, clock, (error) => this.#end(error));
    const reportFailure = (error: Error): void => host.report(error);
    const onDrained = (): void => this.#resume();
    this.#rings = new SessionRings({ watches, device, signal, reportFailure, onDrained });
    this.#watch = this.#listen();
  }

  #listen(): Watch {
    const { number } = this.#socket;
    return this.host.watches.watch(number, EPOLLIN | EPOLLRDHUP, () => this.#turn());
  }

  get device(): BackEndDevice {
    return this.host.device;
  }

  report(error: Error): void {
    this.host.report(error);
  }

  /** Notifies the front-end of a change of the config space, if it has set up a back-end channel. */
  configChanged(): void {
    if (this.#channel === null) return;
    const message = encodeMessage(
      BACK_END_MESSAGES.CONFIG_CHANGE_MSG.request,
      VERSION,
      new Uint8Array(),
    );
    try {
      sendWhole(this.#channel, message);
    } catch (error) {
      this.#setChannel(null);
      this.report(error as Error);
    }
  }

  /** Stops all rings, resets the device, and frees everything. Calling it again does nothing. */
  close(): void {
    if (this.#watch === null) return;
    this.#watch.close();
    this.#watch = null;
    for (const vring of this.#rings.all) vring.close(true);
    this.#resetDevice();
    this.#setChannel(null);
    this.#dropInflight();
    this.#unmap();
    closeAll(this.#held?.fds ?? []);
    this.#inbox.close();
    this.#socket.hangUp();
  }

  #turn(): void {
    try {
      for (let i = 0; i < MESSAGES_PER_TURN; i++) {
        const message = this.#inbox.next();
        if (message === null) return;
        if (!this.#serve(message)) return this.#hold(message);
      }
    } catch (error) {
      this.#end(error as Error);
    }
  }

  /** Until the rings are drained nothing more is read; only the end of the connection is noticed. */
  #hold(message: RawMessage): void {
    this.#held = message;
    this.#watch?.close();
    const { number } = this.#socket;
    this.#watch = this.host.watches.watch(number, EPOLLRDHUP, () => {
      this.close();
      this.host.onEnd();
    });
  }

  /** Handles the message that was held, if its rings are drained. */
  #resume(): void {
    const message = this.#held;
    if (message === null) return;
    this.#held = null;
    try {
      if (!this.#serve(message)) {
        this.#held = message;
        return;
      }
      this.#watch?.close();
      this.#watch = this.#listen();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #end(error: Error): void {
    if (!this.#isGoodbye(error)) this.report(error);
    this.close();
    this.host.onEnd();
  }

  /** Whether the front-end closed the connection between two messages, which is no error. */
  #isGoodbye(error: Error): boolean {
    const isLost = VhostUserError.is(error) && error.fault === "lost";
    return isLost && error.cause === undefined && this.#inbox.idle;
  }

  /** @returns whether the message was handled; else rings that it stops must be drained first */
  #serve(message: RawMessage): boolean {
    const { request, flags, fds } = message;
    let isHeld = false;
    try {
      const { name, row, body } = this.#check(message);
      isHeld = !this.#rings.drain(name, body);
      if (isHeld) return false;
      // The table's types say that handler, body and reply are of one message.
      const handler = this.#handlers[name] as (body: unknown, fds: Fd[]) => unknown;
      const reply = handler(body, fds);
      if (row.reply !== null) this.#answer(request, row.reply.encode(reply), fds);
      else if (this.#acknowledges(flags)) this.#answer(request, U64.encode(DONE));
      return true;
    } catch (error) {
      if (this.#acknowledges(flags)) this.#refuse(request);
      throw error;
    } finally {
      if (!isHeld) closeAll(fds);
    }
  }

  #acknowledges(flags: number): boolean {
    return (flags & NEED_REPLY) !== 0 && hasProtocolFeature(this.#agreed, "REPLY_ACK");
  }

  /** Answers a refused message; the session ends in any case, so a failure to send is ignored. */
  #refuse(request: number): void {
    try {
      this.#answer(request, U64.encode(FAILED));
    } catch { /* the refused message's own error is thrown */ }
  }

  #answer(request: number, body: Uint8Array, fds: readonly Fd[] = []): void {
    const numbers = fds.map(({ number }) => number);
    sendWhole(this.#socket, encodeMessage(request, VERSION | REPLY, body), numbers);
  }

  /** Checks a message against its row in the table. */
  #check(
    { request, body, fds }: RawMessage,
  ): { name: FrontEndMessage; row: MessageRow; body: unknown } {
    const name = FRONT_END_NAMES.get(request);
    if (name === undefined || this.#handlers[name] === undefined) {
      throw this.#refusal(name ?? `request ${request}`, "it is not offered here");
    }
    const row = FRONT_END_MESSAGES[name] as MessageRow;
    this.#checkNegotiated(name, row);
    const [min, max] = row.fds;
    if (fds.length < min || fds.length > max) {
      throw this.#refusal(name, `${fds.length} descriptors came, expected ${min} to ${max}`);
    }
    return { name, row, body: decodeBody(`${name} of ${this.device.name}`, row.body, body) };
  }

  #checkNegotiated(name: string, { feature }: MessageRow): void {
    if (feature === null || hasProtocolFeature(this.#agreed, feature)) return;
    throw this.#refusal(name, `protocol feature ${feature} was not negotiated`);
  }

  #refusal(what: string, why: string): VhostUserError {
    return refusal(what, this.device.name, why);
  }

  readonly #handlers: Handlers = {
    GET_FEATURES: () => offeredFeatures(this.device),
    SET_FEATURES: (features) => this.#setFeatures(features),
    SET_OWNER: () => {},
    RESET_OWNER: () => {}, // deprecated, and implementations differ in what it does
    GET_PROTOCOL_FEATURES: () => offeredProtocolFeatures(this.device),
    SET_PROTOCOL_FEATURES: (features) => {
      checkProtocolFeatures(this.device, features);
      this.#agreed = features;
    },
    GET_QUEUE_NUM: () => BigInt(this.device.queueCount),
    SET_MEM_TABLE: (regions, fds) => this.#setMemory(regions, fds),
    SET_VRING_NUM: ({ index, num }) => this.#rings.setSize(index, num),
    SET_VRING_BASE: ({ index, num }) => this.#rings.setBase(index, num),
    SET_VRING_ADDR: (address) => this.#rings.setAddress(this.#shared, address),
    SET_VRING_KICK: (body, fds) => this.#setKick(body, fds),
    SET_VRING_CALL: (body, fds) => this.#rings.setEvent("call", body, fds),
    SET_VRING_ERR: (body, fds) => this.#rings.setEvent("error", body, fds),
    SET_VRING_ENABLE: ({ index, num }) => this.#enable(index, num),
    GET_VRING_BASE: ({ index }) => this.#stopRing(index),
    GET_CONFIG: (part) => readConfig(this.device, part),
    SET_CONFIG: (part) => writeConfig(this.device, part),
    GET_INFLIGHT_FD: (shape, fds) => this.#createInflight(shape, fds),
    SET_INFLIGHT_FD: (body, fds) => this.#setInflight(body, fds[0]!),
    SET_BACKEND_REQ_FD: (_, fds) => this.#setChannel(fds.shift()!),
    RESET_DEVICE: () => this.#reset(),
  };

  // ---- features ----

  #setFeatures(features: bigint): void {
    checkFeatures(this.device, features);
    if (features !== this.#features && this.#rings.anyRuns) {
      throw this.#refusal("SET_FEATURES", "rings are running, expected them stopped");
    }
    this.#features = features;
    this.device.featuresAccepted?.(features & ~PROTOCOL_FEATURES_BIT);
    if ((features & PROTOCOL_FEATURES_BIT) !== 0n) return;
    for (const vring of this.#rings.all) vring.enabled = true; // without protocol features there is no SET_VRING_ENABLE
    this.#runAll();
  }

  // ---- memory ----

  /** Stops running rings before their memory is unmapped, and starts them again in the new memory. */
  #setMemory(regions: readonly Region[], fds: readonly Fd[]): void {
    const shared = SharedMemory.map(regions, fds);
    const remark = this.#shared === null ? shared.remark(this.device.name) : null;
    if (remark !== null) this.host.notice(remark);
    for (const vring of this.#rings.all) vring.stop();
    this.#unmap();
    this.#shared = shared;
    this.#runAll();
  }

  #unmap(): void {
    try {
      this.#shared?.close();
    } catch (error) {
      this.report(error as Error);
    }
    this.#shared = null;
  }

  #runAll(): void {
    for (const vring of this.#rings.all) this.#run(vring);
  }

  #run(vring: Vring): void {
    if (this.#shared === null) return;
    const inflight = this.#inflight;
    vring.run(this.#shared.memory, {
      indirect: hasFeature(this.#features, VIRTIO_F_RING_INDIRECT_DESC),
      eventIdx: hasFeature(this.#features, VIRTIO_F_RING_EVENT_IDX),
      deviceName: this.device.name,
    }, inflight === null ? undefined : (usedIdx) => inflight.open(vring, usedIdx));
  }

  // ---- chains in flight ----

  #createInflight(shape: Inflight, fds: Fd[]): Inflight {
    const { reply, fd } = createInflight(shape, this.device);
    fds.push(fd); // sent with the reply, then closed
    return reply;
  }

  #setInflight(inflight: Inflight, fd: Fd): void {
    if (this.#rings.anyRuns) {
      throw this.#refusal("SET_INFLIGHT_FD", "rings are running, expected them stopped");
    }
    const memory = new SessionInflight(inflight, fd, this.device);
    this.#dropInflight();
    this.#inflight = memory;
  }

  #dropInflight(): void {
    this.#inflight?.close();
    this.#inflight = null;
  }

  // ---- rings ----

  #setKick(body: VringFd, fds: Fd[]): void {
    this.#run(this.#rings.setKick(body, fds));
  }

  #enable(index: number, value: number): void {
    const vring = this.#rings.at("SET_VRING_ENABLE", index);
    if (value > 1 || (this.#features & PROTOCOL_FEATURES_BIT) === 0n) {
      throw this.#refusal(
        `SET_VRING_ENABLE for queue ${index}`,
        `the value is ${value}, expected 0 or 1, and feature bit 30 accepted`,
      );
    }
    vring.enabled = value === 1;
    if (vring.enabled) this.#run(vring);
    else vring.stop();
  }

  #stopRing(index: number): { index: number; num: number } {
    const vring = this.#rings.at("GET_VRING_BASE", index);
    vring.close();
    return { index, num: vring.base };
  }

  // ---- channel, reset ----

  #setChannel(fd: Fd | null): void {
    this.#channel?.close();
    this.#channel = null;
    if (fd === null) return;
    if (!PeerSocket.isOne(fd)) {
      fd.close();
      throw this.#refusal("SET_BACKEND_REQ_FD", "it is not a Unix stream socket");
    }
    this.#channel = new PeerSocket(fd.release(), this.#socket.peerName);
  }

  #reset(): void {
    for (const vring of this.#rings.all) {
      vring.close();
      vring.enabled = false;
    }
    this.#dropInflight(); // what was in flight is no request of the driver's any more
    this.#resetDevice();
  }

  #resetDevice(): void {
    try {
      this.device.disconnected();
    } catch (error) {
      this.report(error as Error);
    }
  }
}

function closeAll(fds: readonly Fd[]): void {
  for (const fd of fds) fd.close();
}
