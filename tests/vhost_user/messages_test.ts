// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import {
  BACK_END_MESSAGES,
  BACK_END_NAMES,
  decodeBody,
  encodeMessage,
  FRONT_END_MESSAGES,
  FRONT_END_NAMES,
  hasProtocolFeature,
  type MessageRow,
  PROTOCOL_FEATURE,
  protocolFeatureNames,
  protocolFeatures,
} from "../../lib/vhost_user/messages.ts";

type Table = Record<string, MessageRow>;
const FRONT = FRONT_END_MESSAGES as unknown as Table;
const BACK = BACK_END_MESSAGES as unknown as Table;

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (byte) => parseInt(byte, 16));
}

const U64 = "88 77 66 55 44 33 22 11";
const U64_VALUE = 0x1122334455667788n;
const STATE = "02 00 00 00 01 80 00 00";
const STATE_VALUE = { index: 2, num: 0x8001 };
const REGION = "00 00 00 40 01 00 00 00  00 00 01 00 00 00 00 00 " +
  "00 10 00 00 00 7f 00 00  00 20 00 00 00 00 00 00";
const REGION_VALUE = {
  guest: 0x1_4000_0000n,
  size: 0x10000n,
  user: 0x7f00_0000_1000n,
  offset: 0x2000n,
};
const XEN = "03 00 00 00 07 00 00 00";
const INFLIGHT = "00 10 00 00 00 00 00 00 00 20 00 00 00 00 00 00 04 00 40 00 00 00 00 00";
const INFLIGHT_VALUE = { size: 0x1000n, offset: 0x2000n, queues: 4, queueSize: 64 };
const CONFIG = "04 00 00 00 03 00 00 00 01 00 00 00 aa bb cc";
const CONFIG_VALUE = { offset: 4, flags: 1, data: bytes("aa bb cc") };
const UUID = "00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff";
const KICK = "05 00 00 00 00 00 00 00";
const KICK_VALUE = { index: 5, noFd: false };
const LOG = "00 00 10 00 00 00 00 00 00 40 00 00 00 00 00 00";
const LOG_VALUE = { size: 0x100000n, offset: 0x4000n };
const TRANSFER = "01 00 00 00 00 00 00 00";
const SHMEM = `02 00 00 00 00 00 00 00 ${"00 10 00 00 00 00 00 00"} ` +
  "00 20 00 00 00 00 00 00 00 30 00 00 00 00 00 00 01 00 00 00 00 00 00 00";
const SHMEM_VALUE = {
  shmid: 2,
  fdOffset: 0x1000n,
  shmOffset: 0x2000n,
  length: 0x3000n,
  flags: 1n,
};
const IOTLB = "00 10 00 00 00 00 00 00 00 20 00 00 00 00 00 00 00 30 00 00 00 00 00 00 " +
  "03 02 00 00 00 00 00 00";
const IOTLB_VALUE = { iova: 0x1000n, size: 0x2000n, user: 0x3000n, permission: 3, type: 2 };

/** Message, number, payload, its value; then the reply's where one always comes. */
type Golden = [
  name: string,
  request: number,
  payload: string,
  value: unknown,
  reply?: string,
  replyValue?: unknown,
];

const FRONT_END: Golden[] = [
  ["GET_FEATURES", 1, "", undefined, U64, U64_VALUE],
  ["SET_FEATURES", 2, U64, U64_VALUE],
  ["SET_OWNER", 3, "", undefined],
  ["RESET_OWNER", 4, "", undefined],
  ["SET_MEM_TABLE", 5, `01 00 00 00 00 00 00 00 ${REGION}`, [REGION_VALUE]],
  ["SET_LOG_BASE", 6, LOG, LOG_VALUE, U64, U64_VALUE],
  ["SET_LOG_FD", 7, "", undefined],
  ["SET_VRING_NUM", 8, STATE, STATE_VALUE],
  [
    "SET_VRING_ADDR",
    9,
    "02 00 00 00 01 00 00 00 00 10 00 00 00 7f 00 00 00 20 00 00 00 7f 00 00 " +
    "00 30 00 00 00 7f 00 00 00 40 00 00 00 7f 00 00",
    {
      index: 2,
      flags: 1,
      desc: 0x7f00_0000_1000n,
      used: 0x7f00_0000_2000n,
      avail: 0x7f00_0000_3000n,
      log: 0x7f00_0000_4000n,
    },
  ],
  ["SET_VRING_BASE", 10, STATE, STATE_VALUE],
  ["GET_VRING_BASE", 11, STATE, STATE_VALUE, STATE, STATE_VALUE],
  ["SET_VRING_KICK", 12, KICK, KICK_VALUE],
  ["SET_VRING_CALL", 13, "ff 01 00 00 00 00 00 00", { index: 255, noFd: true }],
  ["SET_VRING_ERR", 14, KICK, KICK_VALUE],
  ["GET_PROTOCOL_FEATURES", 15, "", undefined, U64, U64_VALUE],
  ["SET_PROTOCOL_FEATURES", 16, U64, U64_VALUE],
  ["GET_QUEUE_NUM", 17, "", undefined, U64, U64_VALUE],
  ["SET_VRING_ENABLE", 18, STATE, STATE_VALUE],
  ["SEND_RARP", 19, U64, U64_VALUE],
  ["NET_SET_MTU", 20, U64, U64_VALUE],
  ["SET_BACKEND_REQ_FD", 21, "", undefined],
  ["IOTLB_MSG", 22, IOTLB, IOTLB_VALUE],
  ["SET_VRING_ENDIAN", 23, STATE, STATE_VALUE],
  ["GET_CONFIG", 24, CONFIG, CONFIG_VALUE, CONFIG, CONFIG_VALUE],
  ["SET_CONFIG", 25, CONFIG, CONFIG_VALUE],
  ["CREATE_CRYPTO_SESSION", 26, UUID, bytes(UUID), UUID, bytes(UUID)],
  ["CLOSE_CRYPTO_SESSION", 27, U64, U64_VALUE],
  ["POSTCOPY_ADVISE", 28, "", undefined, "", undefined],
  ["POSTCOPY_LISTEN", 29, "", undefined],
  ["POSTCOPY_END", 30, "", undefined, U64, U64_VALUE],
  ["GET_INFLIGHT_FD", 31, INFLIGHT, INFLIGHT_VALUE, INFLIGHT, INFLIGHT_VALUE],
  ["SET_INFLIGHT_FD", 32, INFLIGHT, INFLIGHT_VALUE],
  ["GPU_SET_SOCKET", 33, "", undefined],
  ["RESET_DEVICE", 34, "", undefined],
  ["VRING_KICK", 35, STATE, STATE_VALUE],
  ["GET_MAX_MEM_SLOTS", 36, "", undefined, U64, U64_VALUE],
  ["ADD_MEM_REG", 37, `00 00 00 00 00 00 00 00 ${REGION}`, REGION_VALUE],
  ["REM_MEM_REG", 38, `00 00 00 00 00 00 00 00 ${REGION}`, REGION_VALUE],
  ["SET_STATUS", 39, U64, U64_VALUE],
  ["GET_STATUS", 40, "", undefined, U64, U64_VALUE],
  ["GET_SHARED_OBJECT", 41, UUID, bytes(UUID), UUID, bytes(UUID)],
  ["SET_DEVICE_STATE_FD", 42, TRANSFER, { direction: 1, phase: 0 }, U64, U64_VALUE],
  ["CHECK_DEVICE_STATE", 43, "", undefined, U64, U64_VALUE],
  [
    "GET_SHMEM_CONFIG",
    44,
    "",
    undefined,
    `02 00 00 00 00 00 00 00 ${U64} ${"00".repeat(8 * 254)} 01 00 00 00 00 00 00 00`,
    { count: 2, sizes: [U64_VALUE, ...new Array(254).fill(0n), 1n] },
  ],
  ["GET_VRING_BASE_SKIP_DRAIN", 45, STATE, STATE_VALUE, STATE, STATE_VALUE],
];

const BACK_END: Golden[] = [
  ["IOTLB_MSG", 1, IOTLB, IOTLB_VALUE],
  ["CONFIG_CHANGE_MSG", 2, "", undefined],
  [
    "VRING_HOST_NOTIFIER_MSG",
    3,
    "03 01 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 20 00 00 00 00 00 00",
    { index: 3, noFd: true, size: 0x1000n, offset: 0x2000n },
  ],
  ["VRING_CALL", 4, STATE, STATE_VALUE],
  ["VRING_ERR", 5, STATE, STATE_VALUE],
  ["SHARED_OBJECT_ADD", 6, UUID, bytes(UUID)],
  ["SHARED_OBJECT_REMOVE", 7, UUID, bytes(UUID)],
  ["SHARED_OBJECT_LOOKUP", 8, UUID, bytes(UUID), U64, U64_VALUE],
  ["SHMEM_MAP", 9, SHMEM, SHMEM_VALUE],
  ["SHMEM_UNMAP", 10, SHMEM, SHMEM_VALUE],
];

for (
  const [channel, table, golden] of [["front-end", FRONT, FRONT_END], [
    "back-end",
    BACK,
    BACK_END,
  ]] as const
) {
  for (const [name, request, payload, value, reply, replyValue] of golden) {
    Deno.test(`${channel} ${name}: number, payload and reply to the byte`, () => {
      const row = table[name]!;
      assertEquals(row.request, request);
      assertEquals(row.body.encode(value), bytes(payload));
      assertEquals(decodeBody(name, row.body, bytes(payload)), value);
      assertEquals(row.reply !== null, reply !== undefined);
      if (row.reply === null) return;
      assertEquals(row.reply.encode(replyValue), bytes(reply!));
      assertEquals(decodeBody(name, row.reply, bytes(reply!)), replyValue);
    });

    Deno.test(`${channel} ${name}: a payload of any other size is refused`, () => {
      const { body } = table[name]!;
      const good = bytes(payload);
      const longer = new Uint8Array(body.max + 1);
      longer.set(good);
      const refused = [longer];
      if (body.min > 0) refused.push(good.slice(0, body.min - 1), new Uint8Array());
      for (const wrong of refused) {
        assertThrows(() => decodeBody(name, body, wrong), VhostUserError, `Cannot read ${name}`);
      }
    });
  }

  Deno.test(`${channel} messages: every one is tried here, numbers are unique`, () => {
    assertEquals(Object.keys(table).sort(), golden.map(([name]) => name).sort());
    const names = channel === "front-end" ? FRONT_END_NAMES : BACK_END_NAMES;
    assertEquals(names.size, golden.length);
    for (const [name, request] of golden) assertEquals(names.get(request) as string, name);
  });
}

/** Name, descriptors, descriptors of the reply, protocol feature. */
const FRONT_FACTS = [
  "SET_MEM_TABLE 1-8 0 null",
  "SET_LOG_BASE 1-1 0 LOG_SHMFD",
  "SET_LOG_FD 1-1 0 null",
  "SET_VRING_KICK 0-1 0 null",
  "SET_VRING_CALL 0-1 0 null",
  "SET_VRING_ERR 0-1 0 null",
  "GET_QUEUE_NUM 0-0 0 MQ",
  "SEND_RARP 0-0 0 RARP",
  "NET_SET_MTU 0-0 0 MTU",
  "SET_BACKEND_REQ_FD 1-1 0 BACKEND_REQ",
  "SET_VRING_ENDIAN 0-0 0 CROSS_ENDIAN",
  "GET_CONFIG 0-0 0 CONFIG",
  "SET_CONFIG 0-0 0 CONFIG",
  "CREATE_CRYPTO_SESSION 0-0 0 CRYPTO_SESSION",
  "CLOSE_CRYPTO_SESSION 0-0 0 CRYPTO_SESSION",
  "POSTCOPY_ADVISE 0-0 1 PAGEFAULT",
  "POSTCOPY_LISTEN 0-0 0 PAGEFAULT",
  "POSTCOPY_END 0-0 0 PAGEFAULT",
  "GET_INFLIGHT_FD 0-0 1 INFLIGHT_SHMFD",
  "SET_INFLIGHT_FD 1-1 0 INFLIGHT_SHMFD",
  "GPU_SET_SOCKET 1-1 0 null",
  "RESET_DEVICE 0-0 0 RESET_DEVICE",
  "VRING_KICK 0-0 0 INBAND_NOTIFICATIONS",
  "GET_MAX_MEM_SLOTS 0-0 0 CONFIGURE_MEM_SLOTS",
  "ADD_MEM_REG 1-1 0 CONFIGURE_MEM_SLOTS",
  "REM_MEM_REG 0-1 0 CONFIGURE_MEM_SLOTS",
  "SET_STATUS 0-0 0 STATUS",
  "GET_STATUS 0-0 0 STATUS",
  "GET_SHARED_OBJECT 0-0 1 SHARED_OBJECT",
  "SET_DEVICE_STATE_FD 1-1 1 DEVICE_STATE",
  "CHECK_DEVICE_STATE 0-0 0 DEVICE_STATE",
  "GET_SHMEM_CONFIG 0-0 0 SHMEM",
  "GET_VRING_BASE_SKIP_DRAIN 0-0 0 GET_VRING_BASE_SKIP_DRAIN",
];

/** @see {@linkcode FRONT_FACTS} */
const BACK_FACTS = [
  "CONFIG_CHANGE_MSG 0-0 0 CONFIG",
  "VRING_HOST_NOTIFIER_MSG 0-1 0 HOST_NOTIFIER",
  "VRING_CALL 0-0 0 INBAND_NOTIFICATIONS",
  "VRING_ERR 0-0 0 INBAND_NOTIFICATIONS",
  "SHARED_OBJECT_ADD 0-0 0 SHARED_OBJECT",
  "SHARED_OBJECT_REMOVE 0-0 0 SHARED_OBJECT",
  "SHARED_OBJECT_LOOKUP 0-0 1 SHARED_OBJECT",
  "SHMEM_MAP 1-1 0 SHMEM",
  "SHMEM_UNMAP 0-0 0 SHMEM",
];

Deno.test("descriptors, replies' descriptors and protocol features are those of the specification", () => {
  const facts = (table: Table): string[] =>
    Object.entries(table)
      .filter(([, { fds, replyFds, feature }]) => fds[1] + replyFds > 0 || feature !== null)
      .map(([name, { fds, replyFds, feature }]) =>
        `${name} ${fds.join("-")} ${replyFds} ${feature}`
      );
  assertEquals(facts(FRONT), FRONT_FACTS);
  assertEquals(facts(BACK), BACK_FACTS);
});

Deno.test("a message is header and payload in one piece", () => {
  assertEquals(
    encodeMessage(18, 0x9, bytes(STATE)),
    bytes(`12 00 00 00 09 00 00 00 08 00 00 00 ${STATE}`),
  );
  assertEquals(encodeMessage(3, 0x1, bytes("")), bytes("03 00 00 00 01 00 00 00 00 00 00 00"));
});

Deno.test("memory tables hold several regions, of 32 bytes or Xen's 40", () => {
  const { body } = FRONT_END_MESSAGES.SET_MEM_TABLE;
  const second = { ...REGION_VALUE, guest: 0n };
  const table = decodeBody("table", body, body.encode([REGION_VALUE, second]));
  assertEquals(table, [REGION_VALUE, second]);
  const xen = { ...REGION_VALUE, xen: { flags: 3, domain: 7 } };
  assertEquals(body.encode([xen]), bytes(`01 00 00 00 00 00 00 00 ${REGION} ${XEN}`));
  assertEquals(decodeBody("table", body, body.encode([xen, xen])), [xen, xen]);
  const single = FRONT_END_MESSAGES.ADD_MEM_REG.body;
  assertEquals(decodeBody("region", single, single.encode(xen)), xen);
});

Deno.test("sizes inside a payload that contradict the payload's are refused", async (t) => {
  const { SET_MEM_TABLE, ADD_MEM_REG, SET_CONFIG, GET_CONFIG, SET_LOG_BASE } = FRONT_END_MESSAGES;
  const cases = [
    ["a region more than there are", SET_MEM_TABLE.body, `02 00 00 00 00 00 00 00 ${REGION}`],
    ["2^32 - 1 regions", SET_MEM_TABLE.body, `ff ff ff ff 00 00 00 00 ${REGION}`],
    ["a region less", SET_MEM_TABLE.body, `00 00 00 00 00 00 00 00 ${REGION}`],
    ["no region with bytes", SET_MEM_TABLE.body, "01 00 00 00 00 00 00 00"],
    ["half a region", ADD_MEM_REG.body, `00 00 00 00 00 00 00 00 ${REGION} 00 00 00 00`],
    ["config longer than its bytes", SET_CONFIG.body, "00 00 00 00 04 00 00 00 00 00 00 00 aa"],
    ["config of 2^32 - 1 bytes", SET_CONFIG.body, "00 00 00 00 ff ff ff ff 00 00 00 00 aa"],
    ["config shorter than its bytes", SET_CONFIG.body, "00 00 00 00 00 00 00 00 00 00 00 00 aa"],
    ["half a config reply", GET_CONFIG.reply!, "00 00 00 00 00 00"],
    ["half a log reply", SET_LOG_BASE.reply!, "00 00 00 00 00 00 00 00 00 00 00 00"],
  ] as const;
  for (const [name, codec, payload] of cases) {
    await t.step(name, () => {
      assertThrows(
        () => decodeBody<unknown>("it", codec, bytes(payload)),
        VhostUserError,
        "expected",
      );
    });
  }
});

Deno.test("a back-end refuses GET_CONFIG by no payload, or by one without bytes", () => {
  const reply = FRONT_END_MESSAGES.GET_CONFIG.reply!;
  assertEquals(decodeBody("reply", reply, bytes("")), null);
  assertEquals(reply.encode(null), bytes(""));
  const empty = "00 00 00 00 00 00 00 00 00 00 00 00";
  assertEquals(decodeBody("reply", reply, bytes(empty)), { offset: 0, flags: 0, data: bytes("") });
});

Deno.test("SET_LOG_BASE is answered by a number or by the region", () => {
  const reply = FRONT_END_MESSAGES.SET_LOG_BASE.reply!;
  assertEquals(decodeBody("reply", reply, bytes(LOG)), LOG_VALUE);
  assertEquals(reply.encode(LOG_VALUE), bytes(LOG));
});

Deno.test("a decoded payload is a copy", () => {
  const source = bytes(CONFIG);
  const { data } = decodeBody("config", FRONT_END_MESSAGES.SET_CONFIG.body, source);
  source.fill(0);
  assertEquals(data, bytes("aa bb cc"));
});

Deno.test("protocol features have the specification's numbers, and names", () => {
  assertEquals(Object.values(PROTOCOL_FEATURE), Array.from({ length: 24 }, (_, i) => i));
  assertEquals(protocolFeatures("MQ", "REPLY_ACK", "CONFIG"), 0x209n);
  assertEquals(hasProtocolFeature(0x209n, "CONFIG"), true);
  assertEquals(hasProtocolFeature(0x209n, "STATUS"), false);
  assertEquals(protocolFeatureNames(0x8000_0000_0020_0001n), ["MQ", "GPA_ADDRESSES", "bit 63"]);
});
