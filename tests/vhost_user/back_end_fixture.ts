// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { EPOLLIN, EPOLLRDHUP, Reactor, UnixSocket } from "../../ffi/mod.ts";
import { type BackEndEvent, BackEndServer } from "../../lib/vhost_user/back_end.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { FrontEnd } from "../../lib/vhost_user/front_end.ts";
import { MessageReader } from "../../lib/vhost_user/framing.ts";
import {
  type BodyOf,
  encodeMessage,
  FRONT_END_MESSAGES,
  type FrontEndMessage,
  type MessageRow,
  protocolFeatures,
} from "../../lib/vhost_user/messages.ts";
import { FakeClock } from "../device/wiring.ts";
import { Driver, EchoDevice, SocketFolder, SOUND, VERSION_1 } from "./harness.ts";

export const BIT_30 = 1n << 30n;

export const ALL = protocolFeatures(
  "MQ",
  "REPLY_ACK",
  "CONFIG",
  "BACKEND_REQ",
  "RESET_DEVICE",
  "INFLIGHT_SHMFD",
);

/** A server, and whoever comes to it. */
export class Bench implements AsyncDisposable {
  readonly reactor = new Reactor();
  readonly folder = new SocketFolder();
  readonly device = new EchoDevice();
  readonly events: BackEndEvent[] = [];
  readonly path: string = this.folder.socket("device");
  /** The server's: it stands until a test lets time pass. */
  readonly clock = new FakeClock();
  readonly server: BackEndServer = new BackEndServer(this.reactor, this.path, this.device, {
    onEvent: (event) => this.events.push(event),
    clock: this.clock,
  });
  readonly raws: Raw[] = [];

  /** A front-end of bare bytes. */
  raw(): Raw {
    const raw = new Raw(UnixSocket.connect(this.path), this.reactor);
    this.raws.push(raw);
    return raw;
  }

  /** A front-end that has agreed on all there is, and become the owner. */
  async agreed(): Promise<Raw> {
    const raw = this.raw();
    await raw.ask("GET_FEATURES", undefined);
    raw.tell("SET_PROTOCOL_FEATURES", ALL);
    await raw.ask("SET_OWNER", undefined);
    await raw.ask("SET_FEATURES", VERSION_1 | BIT_30);
    return raw;
  }

  get errors(): string[] {
    return this.events.filter(({ kind }) => kind === "error").map(({ text }) => text);
  }

  /** Proves that the next front-end is served as if nothing had been. */
  async expectService(): Promise<void> {
    const { reactor } = this;
    const options = { reactor, name: "card0", deviceClass: SOUND };
    using front = await FrontEnd.connect(this.path, options);
    using driver = new Driver(4);
    await front.initialise();
    driver.offer(3, "well?");
    await front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
    assertEquals(await driver.answer(3, reactor), "well?");
    await front.stop();
    front.close();
    await this.allGone();
  }

  /** Waits until the server has let everyone go who came. */
  async allGone(): Promise<void> {
    const count = (kind: string): number => this.events.filter((e) => e.kind === kind).length;
    do await new Promise((resolve) => setTimeout(resolve, 0)); while (
      count("disconnected") < count("connected")
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const raw of this.raws) raw.socket.close();
    this.server.close();
    await this.reactor.close();
    this.folder[Symbol.dispose]();
  }
}

/** A front-end that sends what it is told, right or wrong. */
export class Raw {
  readonly #reader: MessageReader;

  constructor(readonly socket: UnixSocket, readonly reactor: Reactor) {
    this.#reader = new MessageReader(socket, "replies", "the server");
  }

  send(bytes: Uint8Array<ArrayBuffer>, fds: readonly number[] = []): void {
    this.socket.send(bytes, 0, bytes.length, fds);
  }

  /** Sends a message; bit 3 of `flags` asks for an answer. */
  tell<Name extends FrontEndMessage>(
    name: Name,
    body: BodyOf<Name>,
    fds: readonly number[] = [],
    flags = 0x1,
  ): void {
    const row = FRONT_END_MESSAGES[name] as MessageRow;
    this.send(encodeMessage(row.request, flags, row.body.encode(body)), fds);
  }

  /** Sends a message, and returns the reply's payload. */
  ask<Name extends FrontEndMessage>(
    name: Name,
    body: BodyOf<Name>,
    fds: readonly number[] = [],
  ): Promise<string> {
    this.tell(name, body, fds, 0x9);
    return this.reply();
  }

  /** The next reply's payload in hexadecimal, or why there is none. */
  reply(): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const watch = this.reactor.watch(this.socket.number, EPOLLIN | EPOLLRDHUP, () => {
      const reply = this.#read();
      if (reply === null) return;
      watch.close();
      resolve(reply);
    });
    return promise;
  }

  #read(): string | null {
    try {
      const message = this.#reader.next();
      return message === null ? null : message.body.toHex();
    } catch (error) {
      return (error as VhostUserError).fault;
    }
  }

  /** Sets a ring up and starts it, but for what is left out. */
  async ring(driver: Driver, index: number, without: readonly string[] = []): Promise<void> {
    const { size, base, desc, avail, used, kick, call } = driver.rings()[index]!;
    const addresses = { desc: BigInt(desc), avail: BigInt(avail), used: BigInt(used), log: 0n };
    const steps: [FrontEndMessage, unknown, number[]?][] = [
      ["SET_MEM_TABLE", table(driver), [driver.fd.number]],
      ["SET_VRING_NUM", { index, num: size }],
      ["SET_VRING_BASE", { index, num: base }],
      ["SET_VRING_ADDR", { index, flags: 0, ...addresses }],
      ["SET_VRING_CALL", { index, noFd: false }, [call]],
      ["SET_VRING_KICK", { index, noFd: false }, [kick]],
      ["SET_VRING_ENABLE", { index, num: 1 }],
    ];
    for (const [name, body, fds] of steps) {
      if (without.includes(name)) continue;
      assertEquals(await this.ask(name, body as never, fds), "0000000000000000", name);
    }
  }
}

export function table(driver: Driver): BodyOf<"SET_MEM_TABLE"> {
  return driver.memory.map(({ guest, size, user, offset }) => ({
    guest: BigInt(guest),
    size: BigInt(size),
    user: BigInt(user),
    offset: BigInt(offset),
  }));
}

export const NACK = "0100000000000000";

/** How often a driver's memory is mapped in this process. */
export function mappings(): number {
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return maps.filter((line) => line.includes("/memfd:driver")).length;
}

// ---- front-ends that break rules ----
