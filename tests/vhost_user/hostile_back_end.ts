// SPDX-License-Identifier: Apache-2.0
// A back-end that answers as it should, until one message where it does not.
import {
  EPOLLIN,
  EPOLLRDHUP,
  EventFd,
  type Fd,
  type Reactor,
  UnixListener,
  UnixSocket,
  type Watch,
} from "../../ffi/mod.ts";
import { inflightBytes, type InflightShape } from "../../lib/vhost_user/inflight.ts";
import { MessageReader, type RawMessage } from "../../lib/vhost_user/framing.ts";
import {
  decodeBody,
  encodeMessage,
  FRONT_END_MESSAGES,
  FRONT_END_NAMES,
  type FrontEndMessage,
  type MessageRow,
  NEED_REPLY,
  protocolFeatures,
  REPLY,
  VERSION,
} from "../../lib/vhost_user/messages.ts";
import { U64 } from "../../lib/vhost_user/payloads.ts";

/** What is done in place of a reply. */
export type Fault = (back: HostileBackEnd, request: number, body: Uint8Array) => void;

function reply(request: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodeMessage(request, VERSION | REPLY, body);
}

function withHeader(word: number, value: number): Fault {
  return (back, request, body) => {
    const bytes = reply(request, body);
    new DataView(bytes.buffer).setUint32(4 * word, value, true);
    back.send(bytes);
  };
}

function withDescriptors(count: number): Fault {
  return (back, request, body) => {
    using events = new DisposableStack();
    const numbers = Array.from({ length: count }, () => events.use(EventFd.create()).number);
    back.send(reply(request, body), numbers);
  };
}

/** Replies that are not as usual, but right. */
export const ODDITIES: Record<string, Fault> = {
  "header and payload apart": (back, request, body) => {
    const bytes = reply(request, body);
    back.send(bytes.slice(0, 12));
    back.send(bytes.slice(12));
  },
  "byte by byte": (back, request, body) => {
    for (const byte of reply(request, body)) back.send(Uint8Array.of(byte));
  },
};

/** Ways to fail any request that waits for a reply, by what the front-end has to make of it. */
export const FAULTS: Record<"lost" | "late" | "protocol", Record<string, Fault>> = {
  lost: {
    "closes": (back) => back.hangUp(),
    "closes inside the header": (back, request, body) => {
      back.send(reply(request, body).slice(0, 7));
      back.hangUp();
    },
    "closes behind the header": (back, request, body) => {
      back.send(reply(request, body).slice(0, 12));
      back.hangUp();
    },
    "closes before the last byte": (back, request, body) => {
      back.send(reply(request, body).slice(0, -1));
      back.hangUp();
    },
  },
  late: {
    "is silent": (back) => back.deafen(),
    "is silent inside the header": (back, request, body) => {
      back.send(reply(request, body).slice(0, 11));
      back.deafen();
    },
    "is silent inside the payload": (back, request, body) => {
      back.send(reply(request, body).slice(0, -1));
      back.deafen();
    },
  },
  protocol: {
    "replies to another request": (back, request, body) => back.send(reply(request ^ 1, body)),
    "replies to a request that does not exist": (back, _, body) => back.send(reply(0xffff, body)),
    "sends what is not marked as a reply": withHeader(1, 0x1),
    "sends a reply that wants one": withHeader(1, 0xd),
    "sends a reply of version 2": withHeader(1, 0x6),
    "sends a reply with bit 31": withHeader(1, 0x80000005),
    "announces 4097 bytes": withHeader(2, 4097),
    "announces 2^32 - 1 bytes": withHeader(2, 0xffffffff),
    "sends a byte too many": (back, request, body) =>
      back.send(reply(request, Uint8Array.of(...body, 0))),
    "sends a byte too few": (back, request, body) => back.send(reply(request, body.slice(1))),
    "sends 4096 bytes": (back, request) => back.send(reply(request, new Uint8Array(4096))),
    "sends a descriptor": withDescriptors(1),
    "sends nine descriptors": withDescriptors(9),
    "sends a descriptor inside the reply": (back, request, body) => {
      using event = EventFd.create();
      const bytes = reply(request, body);
      back.send(bytes.slice(0, 14));
      back.send(bytes.slice(14), [event.number]);
    },
    "replies twice": (back, request, body) => {
      const bytes = reply(request, body);
      back.send(Uint8Array.of(...bytes, ...bytes));
    },
    "sends noise": (back) =>
      back.send(Uint8Array.from({ length: 64 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24)),
  },
};

/** What a {@linkcode HostileBackEnd} is, and where it fails. */
export interface Behaviour {
  features?: bigint;
  protocolFeatures?: bigint;
  queueCount?: bigint;
  config?: Uint8Array;
  /** Told of each message before it is answered, with its descriptors, which are closed afterwards. */
  onMessage?: (name: FrontEndMessage, fds: readonly Fd[]) => void;
  /** Instead of a reply to these. */
  faults?: Partial<Record<FrontEndMessage, Fault>>;
}

const ALL_WE_USE = protocolFeatures("MQ", "REPLY_ACK", "CONFIG", "BACKEND_REQ", "RESET_DEVICE");

/** Listens at a path and serves one front-end. */
export class HostileBackEnd implements Disposable {
  /** What came: "NAME flags", and how many descriptors if any. */
  readonly log: string[] = [];
  /** The channel that the front-end handed over. */
  channel: UnixSocket | null = null;
  #listener: UnixListener;
  #socket: UnixSocket | null = null;
  #watch: Watch | null = null;
  #listening: Watch;

  constructor(readonly reactor: Reactor, path: string, public behaviour: Behaviour = {}) {
    this.#listener = UnixListener.listen(path);
    this.#listening = reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  send(bytes: Uint8Array<ArrayBuffer>, fds: number[] = []): void {
    this.#socket?.send(bytes, 0, bytes.length, fds);
  }

  hangUp(): void {
    this.deafen();
    this.#socket?.close();
    this.#socket = null;
  }

  /** Reads no more. */
  deafen(): void {
    this.#watch?.close();
  }

  /** Reads again. */
  hear(): void {
    const socket = this.#socket!;
    const reader = new MessageReader(socket, "requests", "the front-end");
    this.#watch = this.reactor.watch(socket.number, EPOLLIN | EPOLLRDHUP, () => this.#turn(reader));
  }

  [Symbol.dispose](): void {
    this.hangUp();
    this.channel?.close();
    this.#listening.close();
    this.#listener.close();
  }

  #accept(): void {
    const socket = this.#listener.accept();
    if (socket === null) return;
    this.hangUp(); // the front-end has left the last connection, which may not have been noticed yet
    this.#socket = socket;
    this.hear();
  }

  /** One message a turn, so that the front-end hears what was answered before the next is. */
  #turn(reader: MessageReader): void {
    try {
      const message = reader.next();
      if (message !== null) this.#serve(message);
    } catch {
      this.hangUp();
    }
  }

  #serve({ request, flags, body, fds }: RawMessage): void {
    const name = FRONT_END_NAMES.get(request)!;
    this.log.push(`${name} ${flags}${fds.length > 0 ? ` +${fds.length}` : ""}`);
    const fd = name === "SET_BACKEND_REQ_FD" ? fds.shift() : undefined;
    if (fd !== undefined) {
      this.channel?.close();
      this.channel = new UnixSocket(fd.release());
    }
    this.behaviour.onMessage?.(name, fds);
    for (const fd of fds) fd.close();
    const row = FRONT_END_MESSAGES[name] as MessageRow;
    const fault = this.behaviour.faults?.[name];
    if (row.reply === null && (flags & NEED_REPLY) === 0 && fault === undefined) return;
    const answer = row.reply === null
      ? U64.encode(0n)
      : row.reply.encode(this.#answers[name]!(decodeBody(name, row.body, body)));
    if (fault === undefined) this.send(reply(request, answer));
    else fault(this, request, answer);
  }

  // deno-lint-ignore no-explicit-any -- each answer knows its own request
  readonly #answers: Partial<Record<FrontEndMessage, (body: any) => unknown>> = {
    GET_FEATURES: () => this.behaviour.features ?? 0x1_4000_0000n,
    GET_PROTOCOL_FEATURES: () => this.behaviour.protocolFeatures ?? ALL_WE_USE,
    GET_QUEUE_NUM: () => this.behaviour.queueCount ?? 4n,
    GET_CONFIG: ({ flags }: { flags: number }) => ({
      offset: 0,
      flags,
      data: this.behaviour.config ?? Uint8Array.of(0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0),
    }),
    GET_VRING_BASE: ({ index }: { index: number }) => ({ index, num: 100 + index }),
    GET_INFLIGHT_FD: (shape: InflightShape) => ({
      ...shape,
      size: BigInt(inflightBytes(shape)),
      offset: 0n,
    }),
  };
}
