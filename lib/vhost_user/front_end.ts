// SPDX-License-Identifier: Apache-2.0
/**
 * The front-end role: what viola is to a device daemon.
 *
 * The order of messages is that of the daemons' own test benches and of other front-ends: features, owner, config once
 * per connection; then memory, rings, enable each time the driver is ready; then disable and GET_VRING_BASE each time it
 * is not. A back-end is trusted in nothing: it may be silent, lie, or close at any moment, and all that comes of it is
 * one {@linkcode VhostUserError} and a closed connection.
 *
 * @module
 */
import { type Reactor, UnixSocket } from "../../ffi/mod.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import { bit, describeFeatures, VHOST_USER_F_PROTOCOL_FEATURES } from "../virtio/features.ts";
import { BackEndChannel } from "./channel.ts";
import { Conversation, DEADLINE_MS } from "./conversation.ts";
import type { VhostUserError, VhostUserFault } from "./errors.ts";
import { hasProtocolFeature, protocolFeatures } from "./messages.ts";
import { MAX_REGIONS, type VringAddress } from "./payloads.ts";

/** What a back-end is, as {@linkcode FrontEnd.initialise} learnt it. */
export interface Profile {
  /** The virtio features it offers, without bit 30. */
  readonly features: bigint;
  /** The protocol features agreed on. */
  readonly protocolFeatures: bigint;
  /** How many queues it can serve. */
  readonly queueCount: number;
  /** Its config space, empty for a class without one. */
  readonly config: Uint8Array<ArrayBuffer>;
}

/** A piece of memory for the back-end to map. */
export interface MemorySlot {
  /** Guest address of its first byte: what descriptors hold. */
  guest: number;
  /** Bytes. */
  size: number;
  /** User address of its first byte: what ring addresses are given in. Any injective scheme will do; `guest` is the simplest. */
  user: number;
  /** Where it begins in the file, a multiple of the page size. */
  offset: number;
  /** The file's descriptor; stays the caller's. */
  fd: number;
}

/** A ring to be started. The descriptors stay the caller's. */
export interface RingSetup {
  index: number;
  /** Entries, a power of two. */
  size: number;
  /** The next available index, 0 to 65535. */
  base: number;
  /** User addresses, see {@linkcode MemorySlot.user}. */
  desc: number;
  avail: number;
  used: number;
  /** eventfd (non-blocking) that we ring. */
  kick: number;
  /** eventfd (non-blocking) that the back-end rings. */
  call: number;
}

/** What {@linkcode FrontEnd.start} sets up. */
export interface Setup {
  /** What the driver accepted; bit 30 is added here. */
  features: bigint;
  /** At most 8. Absent: those sent before on this connection still hold. */
  memory?: readonly MemorySlot[] | undefined;
  rings: readonly RingSetup[];
}

/** Where a ring stopped. */
export interface RingBase {
  index: number;
  /** The next available index that the back-end would have taken. */
  base: number;
}

/** What a {@linkcode FrontEnd} needs to know. */
export interface FrontEndOptions {
  reactor: Reactor;
  /** The device's name, for errors. */
  name: string;
  deviceClass: DeviceClass;
  /** Called once when the connection ended for any reason but {@linkcode FrontEnd.close}; pending calls reject with the same error. */
  onLost?: ((error: VhostUserError) => void) | undefined;
  /** How long an ordinary reply may take, 2000 ms unless told; those that drain or map may take five times that. */
  deadlineMs?: number | undefined;
  /** The back-end says that its config space changed: {@linkcode FrontEnd.readConfig} it. */
  onConfigChange?: (() => void) | undefined;
}

/** The protocol features used where the back-end has them; CONFIG besides, for classes with a config space. */
const WANTED = protocolFeatures("MQ", "REPLY_ACK", "BACKEND_REQ", "RESET_DEVICE");
const CONFIG = protocolFeatures("CONFIG");
const PROTOCOL_FEATURES_BIT = bit(VHOST_USER_F_PROTOCOL_FEATURES);
/** Bits 0 to 23 mean something else in each class. */
const CLASS_BITS = bit(24) - 1n;
/** A ring's index must fit the low 8 bits of SET_VRING_KICK. */
const MAX_QUEUES = 256n;

/** A connection to a back-end. */
export class FrontEnd implements Disposable {
  #conversation: Conversation;
  #channel: BackEndChannel | null = null;
  #profile: Profile | null = null;
  /** Whether the back-end has protocol features at all; then rings need to be enabled. */
  #extended = false;
  #running: readonly number[] = [];

  private constructor(socket: UnixSocket, readonly options: FrontEndOptions) {
    const { reactor, name, deadlineMs = DEADLINE_MS } = options;
    const onLost = (error: VhostUserError): void => {
      this.#channel?.close();
      options.onLost?.(error);
    };
    this.#conversation = new Conversation(socket, { reactor, name, deadlineMs, onLost });
  }

  /**
   * Connects to the back-end that listens at `path`: one attempt.
   *
   * @throws {OsError} ENOENT, ECONNREFUSED, EAGAIN, EACCES …
   */
  // deno-lint-ignore require-await -- an async function so that a failure is a rejection
  static async connect(path: string, options: FrontEndOptions): Promise<FrontEnd> {
    return new FrontEnd(UnixSocket.connect(path), options);
  }

  /** What the back-end is. @throws {TypeError} before {@linkcode initialise} is done */
  get profile(): Profile {
    if (this.#profile !== null) return this.#profile;
    throw new TypeError(`Cannot use the back-end of ${this.options.name}: not initialised yet`);
  }

  /**
   * Finds out what the back-end is, agrees on protocol features, and becomes its owner. Once per connection.
   *
   * @throws {VhostUserError} `unfit` when it cannot be a device of our class
   */
  async initialise(): Promise<Profile> {
    const offered = await this.#conversation.ask("GET_FEATURES", undefined);
    const features = offered & ~PROTOCOL_FEATURES_BIT;
    this.#checkClassBits(features);
    this.#extended = features !== offered;
    if (!this.#extended) this.#checkConfig(false);
    const agreed = this.#extended ? await this.#agree() : 0n;
    const queueCount = await this.#countQueues(agreed);
    await this.#conversation.ask("SET_OWNER", undefined);
    if (hasProtocolFeature(agreed, "BACKEND_REQ")) await this.#openChannel();
    const config = await this.#fetchConfig(this.#configSize(features));
    const profile = { features, protocolFeatures: agreed, queueCount, config };
    this.#checkQueues(profile);
    return this.#profile = profile;
  }

  /**
   * Starts the device: features, memory, rings. All descriptors must stay open until this is done.
   *
   * Chains that were offered before the back-end listened wait for ever unless it is rung now. That is left to the
   * caller: a hostile back-end can make whoever rings an eventfd that it holds wait for as long as it likes.
   *
   * @throws {VhostUserError} and the connection is closed
   * @throws {RangeError} for a set-up that no back-end could be given; nothing was sent
   */
  async start({ features, memory, rings }: Setup): Promise<void> {
    this.#checkSetup({ features, memory, rings });
    const accepted = this.#extended ? features | PROTOCOL_FEATURES_BIT : features;
    await this.#conversation.ask("SET_FEATURES", accepted);
    if (memory !== undefined) await this.#shareMemory(memory);
    await this.startRings(rings);
  }

  /**
   * Starts rings that {@linkcode start} left out: some must run before the device may see the others.
   *
   * @throws {VhostUserError} and the connection is closed
   * @throws {RangeError} for a ring that the back-end does not have, or that is started; nothing was sent
   */
  async startRings(rings: readonly RingSetup[]): Promise<void> {
    this.#checkRings(rings);
    // Sent at once: a back-end and we would wake each other for each of them else, thirty times for a sound card.
    await Promise.all([
      ...rings.flatMap((ring) => this.#setUpRing(ring)),
      ...this.#enable(rings.map(({ index }) => index), true),
    ]);
    this.#running = [...this.#running, ...rings.map(({ index }) => index)];
  }

  /**
   * Stops the rings that {@linkcode start} started; the device may be started again.
   *
   * @returns where each stopped. Not every back-end drains first: what it took and did not complete lies between the
   *          ring's used index and this
   * @throws {VhostUserError} and the connection is closed
   */
  async stop(): Promise<RingBase[]> {
    const running = this.#running;
    this.#running = [];
    await Promise.all(this.#enable(running, false));
    const bases: RingBase[] = [];
    for (const index of running) bases.push(await this.#stopRing(index));
    return bases;
  }

  /**
   * Reads the config space anew; {@linkcode profile} has it too then.
   *
   * @throws {VhostUserError} and the connection is closed
   */
  async readConfig(): Promise<Uint8Array<ArrayBuffer>> {
    const config = await this.#fetchConfig(this.profile.config.length);
    this.#profile = { ...this.profile, config };
    return config;
  }

  /**
   * Passes on what the driver wrote to the config space.
   *
   * @throws {VhostUserError} and the connection is closed
   * @throws {RangeError} when it lies outside the config space; nothing was sent
   */
  async writeConfig(offset: number, data: Uint8Array): Promise<void> {
    const { length } = this.profile.config;
    if (offset < 0 || data.length === 0 || offset + data.length > length) {
      throw new RangeError(
        `Cannot write config bytes ${offset} to ${
          offset + data.length
        } of ${this.options.name}: it has ${length}`,
      );
    }
    await this.#conversation.ask("SET_CONFIG", { offset, flags: 0, data });
  }

  /**
   * Resets the device, where the back-end can: RESET_DEVICE.
   *
   * @returns whether it can
   * @throws {VhostUserError} and the connection is closed
   */
  async resetDevice(): Promise<boolean> {
    if (!hasProtocolFeature(this.profile.protocolFeatures, "RESET_DEVICE")) return false;
    this.#running = [];
    await this.#conversation.ask("RESET_DEVICE", undefined);
    return true;
  }

  /** Asks something that changes nothing. @throws {VhostUserError} when nothing is answered; the connection is closed */
  async ping(): Promise<void> {
    await this.#conversation.ask("GET_FEATURES", undefined);
  }

  /** Ends the connection; what is pending rejects, `onLost` is not called. Again is no harm. */
  close(): void {
    this.#channel?.close();
    this.#conversation.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- parts of initialise ----

  /** A back-end does not say which class it is of: features that our class does not have give it away. */
  #checkClassBits(features: bigint): void {
    const { deviceClass } = this.options;
    const known = Object.keys(deviceClass.featureNames).map(Number);
    const foreign = known.reduce((bits, n) => bits & ~bit(n), features & CLASS_BITS);
    if (foreign === 0n) return;
    throw this.#unfit(
      `it offers features that no ${deviceClass.name} device has (${describeFeatures(foreign)})`,
    );
  }

  async #agree(): Promise<bigint> {
    const { deviceClass } = this.options;
    const offered = await this.#conversation.ask("GET_PROTOCOL_FEATURES", undefined);
    this.#checkConfig(hasProtocolFeature(offered, "CONFIG"));
    const wanted = deviceClass.config.max > 0 ? WANTED | CONFIG : WANTED;
    const agreed = offered & wanted;
    await this.#conversation.ask("SET_PROTOCOL_FEATURES", agreed);
    this.#conversation.acknowledged = hasProtocolFeature(agreed, "REPLY_ACK");
    return agreed;
  }

  #checkConfig(has: boolean): void {
    const { name, config } = this.options.deviceClass;
    if (config.required && !has) {
      throw this.#unfit(
        `it has no config space (protocol feature CONFIG), a ${name} device needs one`,
      );
    }
    if (config.max === 0 && has) {
      throw this.#unfit(
        `it has a config space (protocol feature CONFIG), no ${name} device has one`,
      );
    }
  }

  async #countQueues(agreed: bigint): Promise<number> {
    const counted = hasProtocolFeature(agreed, "MQ")
      ? await this.#conversation.ask("GET_QUEUE_NUM", undefined)
      : 1n;
    return Number(counted < MAX_QUEUES ? counted : MAX_QUEUES);
  }

  #checkQueues(profile: Profile): void {
    const { deviceClass } = this.options;
    const needed = deviceClass.queues(profile).length;
    if (profile.queueCount >= needed) return;
    throw this.#unfit(
      `it has ${profile.queueCount} queues, a ${deviceClass.name} device needs ${needed}`,
    );
  }

  async #openChannel(): Promise<void> {
    const { reactor, name, onConfigChange } = this.options;
    const { channel, theirs } = BackEndChannel.create({
      reactor,
      name,
      onConfigChange: () => onConfigChange?.(),
    });
    this.#channel = channel;
    try {
      await this.#conversation.ask("SET_BACKEND_REQ_FD", undefined, [theirs.number]);
    } finally {
      theirs.close();
    }
  }

  /** The bytes beyond the class's least belong to features of the class: read only if the back-end has any of these. */
  #configSize(features: bigint): number {
    const { min, max } = this.options.deviceClass.config;
    return (features & CLASS_BITS) === 0n ? min : max;
  }

  /** All of it at once: some daemons read past their structure, or ignore the offset, when asked for another piece. */
  async #fetchConfig(size: number): Promise<Uint8Array<ArrayBuffer>> {
    if (size === 0) return new Uint8Array();
    const request = { offset: 0, flags: 0, data: new Uint8Array(size) };
    const reply = await this.#conversation.ask("GET_CONFIG", request);
    if (reply === null || reply.data.length === 0) {
      throw this.#unfit(`it refuses to give ${size} bytes of config space`);
    }
    if (reply.offset !== 0 || reply.data.length !== size) {
      const text = `${reply.data.length} bytes at ${reply.offset} came, expected ${size} at 0`;
      throw this.#fail("protocol", `Cannot read the config space of ${this.options.name}: ${text}`);
    }
    return reply.data.slice();
  }

  // ---- parts of start and stop ----

  #checkSetup({ features, memory, rings }: Setup): void {
    const { name } = this.options;
    const { features: offered } = this.profile;
    if (this.#running.length > 0) throw new RangeError(`Cannot start ${name}: it is started`);
    if (memory !== undefined && (memory.length === 0 || memory.length > MAX_REGIONS)) {
      throw new RangeError(
        `Cannot start ${name}: it has ${memory.length} pieces of memory, expected 1 to ${MAX_REGIONS}`,
      );
    }
    this.#checkRings(rings);
    const missing = features & ~offered;
    if (missing === 0n) return;
    throw this.#unfit(
      `it lacks features that the driver relies on (${describeFeatures(missing)})`,
    );
  }

  #checkRings(rings: readonly RingSetup[]): void {
    const { name } = this.options;
    const { queueCount } = this.profile;
    for (const { index } of rings) {
      if (index >= queueCount) {
        throw new RangeError(
          `Cannot start queue ${index} of ${name}: its back-end has ${queueCount}`,
        );
      }
      if (this.#running.includes(index)) {
        throw new RangeError(`Cannot start queue ${index} of ${name}: it is started`);
      }
    }
  }

  async #shareMemory(memory: readonly MemorySlot[]): Promise<void> {
    const table = memory.map(({ guest, size, user, offset }) => ({
      guest: BigInt(guest),
      size: BigInt(size),
      user: BigInt(user),
      offset: BigInt(offset),
    }));
    await this.#conversation.ask("SET_MEM_TABLE", table, memory.map(({ fd }) => fd));
  }

  /** The call eventfd is the real one from the first: a placeholder would swallow an early completion. */
  #setUpRing(
    { index, size, base, desc, avail, used, kick, call }: RingSetup,
  ): Promise<unknown>[] {
    const conversation = this.#conversation;
    const address: VringAddress = {
      index,
      flags: 0,
      desc: BigInt(desc),
      avail: BigInt(avail),
      used: BigInt(used),
      log: 0n,
    };
    return [
      conversation.ask("SET_VRING_NUM", { index, num: size }),
      conversation.ask("SET_VRING_BASE", { index, num: base }),
      conversation.ask("SET_VRING_ADDR", address),
      conversation.ask("SET_VRING_CALL", { index, noFd: false }, [call]),
      conversation.ask("SET_VRING_KICK", { index, noFd: false }, [kick]),
    ];
  }

  /** Enables or disables rings. @returns what settles when the back-end has done it */
  #enable(rings: readonly number[], on: boolean): Promise<unknown>[] {
    const conversation = this.#conversation;
    const num = on ? 1 : 0;
    const asked: Promise<unknown>[] = this.#extended
      ? rings.map((index) => conversation.ask("SET_VRING_ENABLE", { index, num }))
      : [];
    // Without acknowledgements any request with a reply shows that those before it are done.
    if (!conversation.acknowledged) asked.push(conversation.ask("GET_FEATURES", undefined));
    return asked;
  }

  async #stopRing(index: number): Promise<RingBase> {
    const reply = await this.#conversation.ask("GET_VRING_BASE", { index, num: 0 });
    if (reply.index === index && reply.num <= 0xffff) return { index, base: reply.num };
    throw this.#fail(
      "protocol",
      `Cannot stop queue ${index} of ${this.options.name}: the reply names queue ${reply.index} and ` +
        `base ${reply.num}, expected queue ${index} and a base of at most 65535`,
    );
  }

  #fail(fault: VhostUserFault, text: string): VhostUserError {
    return this.#conversation.fail(fault, text);
  }

  #unfit(reason: string): VhostUserError {
    return this.#fail("unfit", `Cannot use the back-end of ${this.options.name}: ${reason}`);
  }
}
