// SPDX-License-Identifier: Apache-2.0
/**
 * The vhost-user messages: every request of both channels as a row of a table. A message is a 12-byte header (u32
 * request, u32 flags, u32 payload size) and a payload.
 *
 * @module
 */
import { VhostUserError } from "./errors.ts";
import {
  type Codec,
  CONFIG,
  CONFIG_REPLY,
  CRYPTO_SESSION,
  DEVICE_STATE,
  INFLIGHT,
  IOTLB,
  LOG_REGION,
  LOG_REPLY,
  MAX_REGIONS,
  MEMORY_TABLE,
  NONE,
  SHMEM_CONFIG,
  SHMEM_MAPPING,
  SINGLE_REGION,
  U64,
  UUID,
  VRING_ADDRESS,
  VRING_AREA,
  VRING_FD,
  VRING_STATE,
} from "./payloads.ts";

/** Bytes of a message's header. */
export const HEADER_SIZE = 12;

/** Header flags: bits 0 and 1 are the version. */
export const VERSION = 0x1;
/** The message is a reply. */
export const REPLY = 0x4;
/** The sender wants an acknowledgement; only with {@linkcode PROTOCOL_FEATURE}.REPLY_ACK. */
export const NEED_REPLY = 0x8;

/** Protocol feature bits. */
export const PROTOCOL_FEATURE = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM: 22,
  GET_VRING_BASE_SKIP_DRAIN: 23,
} as const;

/** The name of a protocol feature. */
export type ProtocolFeature = keyof typeof PROTOCOL_FEATURE;

/** The set of these protocol features. */
export function protocolFeatures(...names: ProtocolFeature[]): bigint {
  return names.reduce((set, name) => set | 1n << BigInt(PROTOCOL_FEATURE[name]), 0n);
}

/** Whether a set of protocol features has this one. */
export function hasProtocolFeature(set: bigint, name: ProtocolFeature): boolean {
  return (set >> BigInt(PROTOCOL_FEATURE[name]) & 1n) === 1n;
}

/** The names of a set of protocol features, "bit N" for unknown ones. */
export function protocolFeatureNames(set: bigint): string[] {
  const names = new Map<number, string>(
    Object.entries(PROTOCOL_FEATURE).map(([name, bit]) => [bit, name]),
  );
  const found: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if ((set >> BigInt(bit) & 1n) === 1n) found.push(names.get(bit) ?? `bit ${bit}`);
  }
  return found;
}

/** One kind of message. */
export interface MessageRow<Body = unknown, Reply = unknown> {
  /** The number in the header. */
  readonly request: number;
  readonly body: Codec<Body>;
  /** The codec of its reply; null: it has only an acknowledgement (u64, 0 = done), if requested. */
  readonly reply: Codec<Reply> | null;
  /** The fewest and most descriptors that come with it. */
  readonly fds: readonly [min: number, max: number];
  /** The most descriptors that come with its reply. */
  readonly replyFds: number;
  /** The protocol feature without which it must not be sent. */
  readonly feature: ProtocolFeature | null;
}

interface RowOptions<Reply> {
  reply?: Codec<Reply>;
  fds?: readonly [number, number];
  replyFds?: number;
  feature?: ProtocolFeature;
}

function row<Body, Reply = void>(
  request: number,
  body: Codec<Body>,
  { reply, fds = [0, 0], replyFds = 0, feature }: RowOptions<Reply> = {},
): MessageRow<Body, Reply> {
  return { request, body, reply: reply ?? null, fds, replyFds, feature: feature ?? null };
}

const ONE = [1, 1] as const;
const MAYBE = [0, 1] as const;

/** The messages of the front-end. */
export const FRONT_END_MESSAGES = {
  GET_FEATURES: row(1, NONE, { reply: U64 }),
  SET_FEATURES: row(2, U64),
  SET_OWNER: row(3, NONE),
  RESET_OWNER: row(4, NONE),
  SET_MEM_TABLE: row(5, MEMORY_TABLE, { fds: [1, MAX_REGIONS] }),
  SET_LOG_BASE: row(6, LOG_REGION, { reply: LOG_REPLY, fds: ONE, feature: "LOG_SHMFD" }),
  SET_LOG_FD: row(7, NONE, { fds: ONE }),
  SET_VRING_NUM: row(8, VRING_STATE),
  SET_VRING_ADDR: row(9, VRING_ADDRESS),
  SET_VRING_BASE: row(10, VRING_STATE),
  GET_VRING_BASE: row(11, VRING_STATE, { reply: VRING_STATE }),
  SET_VRING_KICK: row(12, VRING_FD, { fds: MAYBE }),
  SET_VRING_CALL: row(13, VRING_FD, { fds: MAYBE }),
  SET_VRING_ERR: row(14, VRING_FD, { fds: MAYBE }),
  GET_PROTOCOL_FEATURES: row(15, NONE, { reply: U64 }),
  SET_PROTOCOL_FEATURES: row(16, U64),
  GET_QUEUE_NUM: row(17, NONE, { reply: U64, feature: "MQ" }),
  SET_VRING_ENABLE: row(18, VRING_STATE),
  SEND_RARP: row(19, U64, { feature: "RARP" }),
  NET_SET_MTU: row(20, U64, { feature: "MTU" }),
  SET_BACKEND_REQ_FD: row(21, NONE, { fds: ONE, feature: "BACKEND_REQ" }),
  IOTLB_MSG: row(22, IOTLB),
  SET_VRING_ENDIAN: row(23, VRING_STATE, { feature: "CROSS_ENDIAN" }),
  GET_CONFIG: row(24, CONFIG, { reply: CONFIG_REPLY, feature: "CONFIG" }),
  SET_CONFIG: row(25, CONFIG, { feature: "CONFIG" }),
  CREATE_CRYPTO_SESSION: row(26, CRYPTO_SESSION, {
    reply: CRYPTO_SESSION,
    feature: "CRYPTO_SESSION",
  }),
  CLOSE_CRYPTO_SESSION: row(27, U64, { feature: "CRYPTO_SESSION" }),
  POSTCOPY_ADVISE: row(28, NONE, { reply: NONE, replyFds: 1, feature: "PAGEFAULT" }),
  POSTCOPY_LISTEN: row(29, NONE, { feature: "PAGEFAULT" }),
  POSTCOPY_END: row(30, NONE, { reply: U64, feature: "PAGEFAULT" }),
  GET_INFLIGHT_FD: row(31, INFLIGHT, { reply: INFLIGHT, replyFds: 1, feature: "INFLIGHT_SHMFD" }),
  SET_INFLIGHT_FD: row(32, INFLIGHT, { fds: ONE, feature: "INFLIGHT_SHMFD" }),
  GPU_SET_SOCKET: row(33, NONE, { fds: ONE }),
  RESET_DEVICE: row(34, NONE, { feature: "RESET_DEVICE" }),
  VRING_KICK: row(35, VRING_STATE, { feature: "INBAND_NOTIFICATIONS" }),
  GET_MAX_MEM_SLOTS: row(36, NONE, { reply: U64, feature: "CONFIGURE_MEM_SLOTS" }),
  ADD_MEM_REG: row(37, SINGLE_REGION, { fds: ONE, feature: "CONFIGURE_MEM_SLOTS" }),
  REM_MEM_REG: row(38, SINGLE_REGION, { fds: MAYBE, feature: "CONFIGURE_MEM_SLOTS" }),
  SET_STATUS: row(39, U64, { feature: "STATUS" }),
  GET_STATUS: row(40, NONE, { reply: U64, feature: "STATUS" }),
  GET_SHARED_OBJECT: row(41, UUID, { reply: UUID, replyFds: 1, feature: "SHARED_OBJECT" }),
  SET_DEVICE_STATE_FD: row(42, DEVICE_STATE, {
    reply: U64,
    fds: ONE,
    replyFds: 1,
    feature: "DEVICE_STATE",
  }),
  CHECK_DEVICE_STATE: row(43, NONE, { reply: U64, feature: "DEVICE_STATE" }),
  GET_SHMEM_CONFIG: row(44, NONE, { reply: SHMEM_CONFIG, feature: "SHMEM" }),
  GET_VRING_BASE_SKIP_DRAIN: row(45, VRING_STATE, {
    reply: VRING_STATE,
    feature: "GET_VRING_BASE_SKIP_DRAIN",
  }),
} as const;

/** The messages of the back-end, on the socket from SET_BACKEND_REQ_FD. Their numbers are separate from the above. */
export const BACK_END_MESSAGES = {
  IOTLB_MSG: row(1, IOTLB),
  CONFIG_CHANGE_MSG: row(2, NONE, { feature: "CONFIG" }),
  VRING_HOST_NOTIFIER_MSG: row(3, VRING_AREA, { fds: MAYBE, feature: "HOST_NOTIFIER" }),
  VRING_CALL: row(4, VRING_STATE, { feature: "INBAND_NOTIFICATIONS" }),
  VRING_ERR: row(5, VRING_STATE, { feature: "INBAND_NOTIFICATIONS" }),
  SHARED_OBJECT_ADD: row(6, UUID, { feature: "SHARED_OBJECT" }),
  SHARED_OBJECT_REMOVE: row(7, UUID, { feature: "SHARED_OBJECT" }),
  SHARED_OBJECT_LOOKUP: row(8, UUID, { reply: U64, replyFds: 1, feature: "SHARED_OBJECT" }),
  SHMEM_MAP: row(9, SHMEM_MAPPING, { fds: ONE, feature: "SHMEM" }),
  SHMEM_UNMAP: row(10, SHMEM_MAPPING, { feature: "SHMEM" }),
} as const;

/** The name of a front-end's message. */
export type FrontEndMessage = keyof typeof FRONT_END_MESSAGES;
/** The name of a back-end's message. */
export type BackEndMessage = keyof typeof BACK_END_MESSAGES;
/** The payload of a front-end's message. */
export type BodyOf<Name extends FrontEndMessage> = typeof FRONT_END_MESSAGES[Name] extends
  MessageRow<infer Body, infer _> ? Body : never;
/** The reply to a front-end's message, void for an acknowledgement. */
export type ReplyOf<Name extends FrontEndMessage> = typeof FRONT_END_MESSAGES[Name] extends
  MessageRow<infer _, infer Reply> ? Reply : never;

function namesOf<Name extends string>(table: Record<Name, MessageRow>): Map<number, Name> {
  return new Map((Object.keys(table) as Name[]).map((name) => [table[name].request, name]));
}

/** Names of a front-end's messages by number. */
export const FRONT_END_NAMES: ReadonlyMap<number, FrontEndMessage> = namesOf(
  FRONT_END_MESSAGES as Record<FrontEndMessage, MessageRow>,
);
/** Names of a back-end's messages by number. */
export const BACK_END_NAMES: ReadonlyMap<number, BackEndMessage> = namesOf(
  BACK_END_MESSAGES as Record<BackEndMessage, MessageRow>,
);

// ---- whole messages ----

/** A message's bytes, header and payload together, to be sent by one call. */
export function encodeMessage(
  request: number,
  flags: number,
  body: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_SIZE + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, request, true);
  view.setUint32(4, flags, true);
  view.setUint32(8, body.length, true);
  bytes.set(body, HEADER_SIZE);
  return bytes;
}

/**
 * Reads a payload.
 *
 * @param what The message, for the error
 * @throws {VhostUserError} naming the sizes
 */
export function decodeBody<T>(what: string, codec: Codec<T>, body: Uint8Array): T {
  const { min, max } = codec;
  if (body.length < min || body.length > max) {
    const expected = min === max ? `${min}` : `${min} to ${max}`;
    throw new VhostUserError(
      "protocol",
      `Cannot read ${what}: its payload has ${body.length} bytes, expected ${expected}`,
    );
  }
  try {
    return codec.decode(new DataView(body.buffer, body.byteOffset, body.byteLength));
  } catch (cause) {
    throw new VhostUserError("protocol", `Cannot read ${what}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
