// SPDX-License-Identifier: Apache-2.0
/**
 * The front-end role, which viola has towards a device daemon.
 *
 * The order of messages is that of the daemons' own test benches and of other front-ends: features, owner, config once
 * per connection; then memory, rings, enable each time the driver is ready; then disable and GET_VRING_BASE each time it
 * is not. A back-end is not trusted: whether it is silent, sends wrong replies or closes, the result is one
 * {@linkcode VhostUserError} and a closed connection.
 *
 * @module
 */
import { pageSize, UnixSocket } from "../../ffi/mod.ts";
import { bit, describeFeatures, VHOST_USER_F_PROTOCOL_FEATURES } from "../virtio/features.ts";
import { BackEndChannel } from "./channel.ts";
import { Conversation, DEADLINE_MS } from "./conversation.ts";
import type { VhostUserError, VhostUserFault } from "./errors.ts";
import type {
  FrontEndOptions,
  MemorySlot,
  Profile,
  RingBase,
  RingSetup,
  Setup,
} from "./front_end_types.ts";
import { inflightBytes, type InflightShape } from "./inflight.ts";
import { hasProtocolFeature, protocolFeatures } from "./messages.ts";
import { MAX_REGIONS, type VringAddress } from "./payloads.ts";

/** The protocol features used where the back-end has them; CONFIG besides, for classes with a config space. */
const WANTED = protocolFeatures("MQ", "REPLY_ACK", "BACKEND_REQ", "RESET_DEVICE");
const CONFIG = protocolFeatures("CONFIG");
const INFLIGHT = protocolFeatures("INFLIGHT_SHMFD");
const PROTOCOL_FEATURES_BIT = bit(VHOST_USER_F_PROTOCOL_FEATURES);
/** Bits 0 to 23 mean something else in each class. */
const CLASS_BITS = bit(24) - 1n;
/** A ring's index must fit the low 8 bits of SET_VRING_KICK. */
const MAX_QUEUES = 256n;

/** How many bytes more than the specification's layout a back-end's in-flight memory may have. */
export const INFLIGHT_MARGIN = 64 * 1024;

/** A connection to a back-end. */
export class FrontEnd implements Disposable {
  #conversation: Conversation;
  #channel: BackEndChannel | null = null;
  #profile: Profile | null = null;
  /** Whether the back-end offers the protocol feature CONFIG. */
  #offersConfig = false;
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

  /** What the back-end offers. @throws {TypeError} before {@linkcode initialise} is done */
  get profile(): Profile {
    if (this.#profile !== null) return this.#profile;
    throw new TypeError(`Cannot use the back-end of ${this.options.name}: not initialised yet`);
  }

  /**
   * Queries what the back-end offers, negotiates protocol features, and becomes its owner. Once per connection.
   *
   * @throws {VhostUserError} `unfit` when it is not a device of the expected class
   */
  async initialise(): Promise<Profile> {
    const offered = await this.#conversation.ask("GET_FEATURES", undefined);
    const features = offered & ~PROTOCOL_FEATURES_BIT;
    this.#checkClassBits(features);
    this.#extended = features !== offered;
    if (!this.#extended) this.#checkConfig();
    const agreed = this.#extended ? await this.#agree() : 0n;
    const queueCount = await this.#countQueues(agreed);
    await this.#conversation.ask("SET_OWNER", undefined);
    if (hasProtocolFeature(agreed, "BACKEND_REQ")) await this.#openChannel();
    const size = hasProtocolFeature(agreed, "CONFIG") ? this.#configSize(features) : 0;
    const config = this.#fixedConfig ?? await this.#fetchConfig(size);
    const tracksInflight = hasProtocolFeature(agreed, "INFLIGHT_SHMFD");
    const profile = { features, protocolFeatures: agreed, queueCount, config, tracksInflight };
    this.#checkQueues(profile);
    return this.#profile = profile;
  }

  /**
   * Starts the device: features, memory, rings. All descriptors must stay open until this is done.
   *
   * The caller must kick the rings afterwards, since chains offered before are not noticed otherwise. This is not done
   * here, because a hostile back-end that fills an eventfd can block the thread that writes to it.
   *
   * @throws {VhostUserError} after closing the connection
   * @throws {RangeError} for an invalid set-up; nothing was sent
   */
  async start({ features, memory, rings, inflight }: Setup): Promise<void> {
    this.#checkSetup({ features, memory, rings });
    const accepted = this.#extended ? features | PROTOCOL_FEATURES_BIT : features;
    await this.#conversation.ask("SET_FEATURES", accepted);
    if (inflight !== undefined) {
      const { fd, size, queues, queueSize } = inflight;
      const body = { size: BigInt(size), offset: 0n, queues, queueSize };
      await this.#conversation.ask("SET_INFLIGHT_FD", body, [fd]);
    }
    if (memory !== undefined) await this.#shareMemory(memory);
    await this.startRings(rings);
  }

  /**
   * Starts rings that {@linkcode start} left out, because others had to run first.
   *
   * @throws {VhostUserError} and the connection is closed
   * @throws {RangeError} for a ring that the back-end does not have, or that is started; nothing was sent
   */
  async startRings(rings: readonly RingSetup[]): Promise<void> {
    this.#checkRings(rings);
    // Sent without waiting for replies in between: that would cost about thirty wake-ups for a sound card.
    await Promise.all([
      ...rings.flatMap((ring) => this.#setUpRing(ring)),
      ...this.#enable(rings.map(({ index }) => index), true),
    ]);
    this.#running = [...this.#running, ...rings.map(({ index }) => index)];
  }

  /**
   * Stops the rings that {@linkcode start} started; the device may be started again.
   *
   * @returns the index at which each stopped. Not every back-end drains first: chains between the ring's used index and
   *          this index were taken and not completed
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
   * Reads the config space again, and updates {@linkcode profile}.
   *
   * @throws {VhostUserError} and the connection is closed
   */
  async readConfig(): Promise<Uint8Array<ArrayBuffer>> {
    const config = this.#fixedConfig ?? await this.#fetchConfig(this.profile.config.length);
    this.#profile = { ...this.profile, config };
    return config;
  }

  /**
   * Sends a write of the driver to the config space.
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
    if (this.#fixedConfig !== undefined) return; // it is the front-end's own
    await this.#conversation.ask("SET_CONFIG", { offset, flags: 0, data });
  }

  /**
   * Resets the device with RESET_DEVICE, if the back-end supports that.
   *
   * @returns whether it does
   * @throws {VhostUserError} and the connection is closed
   */
  async resetDevice(): Promise<boolean> {
    if (!hasProtocolFeature(this.profile.protocolFeatures, "RESET_DEVICE")) return false;
    this.#running = [];
    await this.#conversation.ask("RESET_DEVICE", undefined);
    return true;
  }

  /**
   * Asks how much memory the back-end needs to note the chains in flight. The memory that it returns is not used: viola
   * gives it memory of its own, which nobody can shrink before the next back-end has it.
   *
   * @returns bytes, for {@linkcode InflightSlot.size}
   * @throws {VhostUserError} and the connection is closed
   */
  async inflightSize({ queues, queueSize }: InflightShape): Promise<number> {
    const shape = { size: 0n, offset: 0n, queues, queueSize };
    const reply = await this.#conversation.ask("GET_INFLIGHT_FD", shape);
    const least = inflightBytes({ queues, queueSize });
    const most = least + INFLIGHT_MARGIN;
    const isSame = reply.queues === queues && reply.queueSize === queueSize;
    const isFit = reply.size >= BigInt(least) && reply.size <= BigInt(most);
    if (isSame && isFit && reply.offset % BigInt(pageSize()) === 0n) return Number(reply.size);
    throw this.#fail(
      "protocol",
      `Cannot use the in-flight memory of the back-end of ${this.options.name}: it is for ` +
        `${reply.queues} queues of ${reply.queueSize} in ${reply.size} bytes at ${reply.offset}, ` +
        `expected ${queues} queues of ${queueSize} in ${least} to ${most} bytes from a page on`,
    );
  }

  /** Sends a request without side effects. @throws {VhostUserError} when there is no reply; the connection is closed then */
  async ping(): Promise<void> {
    await this.#conversation.ask("GET_FEATURES", undefined);
  }

  /** Closes the connection; pending calls reject, `onLost` is not called. May be called again. */
  close(): void {
    this.#channel?.close();
    this.#conversation.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- parts of initialise ----

  /** A back-end does not report its class, but features that the expected class does not have show another one. */
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
    const { deviceClass, tracksInflight } = this.options;
    const offered = await this.#conversation.ask("GET_PROTOCOL_FEATURES", undefined);
    this.#offersConfig = hasProtocolFeature(offered, "CONFIG");
    this.#checkConfig();
    const hasConfig = deviceClass.config.max > 0 && this.#fixedConfig === undefined;
    const config = hasConfig ? CONFIG : 0n;
    const inflight = tracksInflight === true ? INFLIGHT : 0n;
    const agreed = offered & (WANTED | config | inflight);
    await this.#conversation.ask("SET_PROTOCOL_FEATURES", agreed);
    this.#conversation.acknowledged = hasProtocolFeature(agreed, "REPLY_ACK");
    return agreed;
  }

  /** Undefined: the config space is the back-end's. */
  get #fixedConfig(): Uint8Array<ArrayBuffer> | undefined {
    return this.options.deviceClass.config.fixed;
  }

  #checkConfig(): void {
    const { name, config } = this.options.deviceClass;
    if (!config.required || this.#offersConfig) return;
    throw this.#unfit(
      `it has no config space (protocol feature CONFIG), a ${name} device needs one`,
    );
  }

  async #countQueues(agreed: bigint): Promise<number> {
    const counted = hasProtocolFeature(agreed, "MQ")
      ? await this.#conversation.ask("GET_QUEUE_NUM", undefined)
      : 1n;
    const count = counted * BigInt(this.options.deviceClass.queueUnit ?? 1);
    return Number(count < MAX_QUEUES ? count : MAX_QUEUES);
  }

  #checkQueues(profile: Profile): void {
    const { deviceClass } = this.options;
    const needed = deviceClass.queues(profile).length;
    const { queueCount } = profile;
    // Some back-ends offer CONFIG in every class. With other queues besides it is another device.
    const isOther = deviceClass.config.max === 0 && this.#offersConfig && queueCount !== needed;
    if (queueCount >= needed && !isOther) return;
    const config = isOther ? " and a config space (protocol feature CONFIG)" : "";
    const none = isOther ? " and has none" : "";
    throw this.#unfit(
      `it has ${queueCount} queues${config}, a ${deviceClass.name} device needs ${needed}${none}`,
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

  /** Bytes beyond the class's minimum belong to features of the class; they are read only if the back-end has one. */
  #configSize(features: bigint): number {
    const { min, max } = this.options.deviceClass.config;
    return (features & CLASS_BITS) === 0n ? min : max;
  }

  /** Reads all at once: for parts, some daemons ignore the offset or read beyond their structure. */
  async #fetchConfig(size: number): Promise<Uint8Array<ArrayBuffer>> {
    if (size === 0) return new Uint8Array();
    const request = { offset: 0, flags: 0, data: new Uint8Array(size) };
    const reply = await this.#conversation.ask("GET_CONFIG", request);
    if (reply === null || reply.data.length === 0) {
      throw this.#unfit(`it refused to return ${size} bytes of config space`);
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

  /** Sets the real call eventfd at once: a placeholder would swallow an early signal. */
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

  /** Enables or disables rings. @returns promises that settle when the back-end has done so */
  #enable(rings: readonly number[], on: boolean): Promise<unknown>[] {
    const conversation = this.#conversation;
    const num = on ? 1 : 0;
    const asked: Promise<unknown>[] = this.#extended
      ? rings.map((index) => conversation.ask("SET_VRING_ENABLE", { index, num }))
      : [];
    // Without acknowledgements: the reply to any later request shows that these are done.
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
