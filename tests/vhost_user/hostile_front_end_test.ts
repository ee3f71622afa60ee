// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { createPipe, EventFd } from "../../ffi/mod.ts";
import { type BodyOf, encodeMessage, type FrontEndMessage } from "../../lib/vhost_user/messages.ts";
import { Driver, openDescriptors } from "./harness.ts";
import { Bench, BIT_30, NACK, Raw, table } from "./back_end_fixture.ts";

/** A broken rule: what is done after {@linkcode Bench.agreed}, and a piece of what is said about it. */
type Offence = [name: string, text: string, act: (raw: Raw, driver: Driver) => unknown];

function memory(change: (region: BodyOf<"SET_MEM_TABLE">[0]) => object): Offence[2] {
  return (raw, driver) => {
    const regions = table(driver).map((region) => ({ ...region, ...change(region) }));
    raw.tell("SET_MEM_TABLE", regions, [driver.fd.number], 0x9);
  };
}

/** In-flight memory for one queue of 16, as its front-end gives it back. */
const INFLIGHT = { size: 320n, offset: 0n, queues: 1, queueSize: 16 };

function offend<Name extends FrontEndMessage>(
  name: Name,
  body: BodyOf<Name>,
  fds: (driver: Driver) => number[] = () => [],
): (raw: Raw, driver: Driver) => void {
  return (raw, driver) => raw.tell(name, body, fds(driver), 0x9);
}

function after(
  without: readonly string[],
  act: (raw: Raw, driver: Driver) => unknown,
): Offence[2] {
  return async (raw, driver) => {
    await raw.ring(driver, 0, without);
    act(raw, driver);
  };
}

function address(
  change: (ring: { desc: bigint; avail: bigint; used: bigint }) => object,
): Offence[2] {
  return after(["SET_VRING_ADDR", "SET_VRING_KICK", "SET_VRING_ENABLE"], (raw, driver) => {
    const { desc, avail, used, kick } = driver.rings()[0]!;
    const right = { desc: BigInt(desc), avail: BigInt(avail), used: BigInt(used) };
    const body = { index: 0, flags: 0, log: 0n, ...right, ...change(right) };
    raw.tell("SET_VRING_ADDR", body);
    raw.tell("SET_VRING_KICK", { index: 0, noFd: false }, [kick]);
    raw.tell("SET_VRING_ENABLE", { index: 0, num: 1 }, [], 0x9);
  });
}

const kickOf = (driver: Driver): number[] => [driver.kicks[0]!.number];
const memoryOf = (driver: Driver): number[] => [driver.fd.number];
const enable = (raw: Raw): void => raw.tell("SET_VRING_ENABLE", { index: 0, num: 1 }, [], 0x9);

const OFFENCES: Offence[] = [
  ["features not offered", "bit 5", offend("SET_FEATURES", 1n << 5n)],
  [
    "protocol features not offered",
    "STATUS, bit 63",
    offend("SET_PROTOCOL_FEATURES", 1n << 63n | 1n << 16n),
  ],
  ["no region", "expected 1 to 8", offend("SET_MEM_TABLE", [])],
  [
    "a descriptor less than regions",
    "1 descriptors came for 2",
    (raw, driver) =>
      raw.tell("SET_MEM_TABLE", [...table(driver), ...table(driver)], [driver.fd.number], 0x9),
  ],
  [
    "a descriptor more than regions",
    "2 descriptors came for 1",
    (raw, driver) =>
      raw.tell("SET_MEM_TABLE", table(driver), [driver.fd.number, driver.fd.number], 0x9),
  ],
  [
    "no descriptor for a region",
    "0 descriptors came",
    (raw, driver) => raw.tell("SET_MEM_TABLE", table(driver), [], 0x9),
  ],
  ["overlapping guest regions", "Cannot place memory", (raw, driver) => {
    const [region] = table(driver);
    const regions = [region!, { ...region!, user: 0n, guest: region!.guest + 0x8000n }];
    raw.tell("SET_MEM_TABLE", regions, [driver.fd.number, driver.fd.number], 0x9);
  }],
  ["overlapping user regions", "inside one that ends", (raw, driver) => {
    const [region] = table(driver);
    const regions = [region!, { ...region!, guest: 0n, user: region!.user + 0x8000n }];
    raw.tell("SET_MEM_TABLE", regions, [driver.fd.number, driver.fd.number], 0x9);
  }],
  ["a region of no bytes", "0 bytes", memory(() => ({ size: 0n }))],
  ["a region larger than its file", "of a file of 65536", memory(() => ({ size: 0x10001n }))],
  ["a region of 2^63 bytes", "region 0", memory(() => ({ size: 1n << 63n }))],
  ["a region past its file's end", "of a file of 65536", memory(() => ({ offset: 0x1000n }))],
  [
    "an offset that wraps",
    "of a file of 65536",
    memory(() => ({ offset: 0xffff_ffff_ffff_f000n })),
  ],
  [
    "an offset inside a page",
    "a beginning at a page",
    memory(() => ({ offset: 0x800n, size: 0x800n })),
  ],
  ["guest memory past 2^53", "below 2^53", memory(() => ({ guest: 1n << 53n }))],
  ["guest memory at an odd address", "a multiple of 16", memory(() => ({ guest: 1n }))],
  ["user memory past 2^64", "2^64", memory(() => ({ user: 0xffff_ffff_ffff_0001n }))],
  ["memory in a pipe", "of a file of 0", (raw, driver) => {
    const { reader, writer } = createPipe();
    raw.tell("SET_MEM_TABLE", table(driver), [reader.number], 0x9);
    reader.close();
    writer.close();
  }],
  ["a channel that is an eventfd", "not a Unix stream socket", (raw) => {
    using event = EventFd.create();
    raw.tell("SET_BACKEND_REQ_FD", undefined, [event.number], 0x9);
  }],
  ["a queue of no entries", "its size is 0", offend("SET_VRING_NUM", { index: 0, num: 0 })],
  ["a queue of 63 entries", "its size is 63", offend("SET_VRING_NUM", { index: 0, num: 63 })],
  [
    "a queue of 128 entries",
    "expected a power of two up to 64",
    offend("SET_VRING_NUM", { index: 0, num: 128 }),
  ],
  [
    "a queue of 2^31 entries",
    "its size is 2147483648",
    offend("SET_VRING_NUM", { index: 0, num: 2 ** 31 }),
  ],
  ["queue 4 of 4", "queue 4", offend("SET_VRING_NUM", { index: 4, num: 16 })],
  ["queue 2^32 - 1", "queue 4294967295", offend("SET_VRING_BASE", { index: 0xffffffff, num: 0 })],
  ["a base past 65535", "65536", offend("SET_VRING_BASE", { index: 0, num: 65536 })],
  [
    "an address before memory",
    "no memory table yet",
    offend("SET_VRING_ADDR", {
      index: 0,
      flags: 0,
      desc: 0n,
      avail: 0n,
      used: 0n,
      log: 0n,
    }),
  ],
  ["descriptors outside memory", "Cannot find the descriptors", address(() => ({ desc: 0n }))],
  [
    "descriptors past memory's end",
    "bytes inside memory",
    address(({ desc }) => ({ desc: desc + 0xfff0n })),
  ],
  [
    "an available ring outside memory",
    "Cannot find the available ring",
    address(() => ({ avail: 0n })),
  ],
  ["a used ring outside memory", "Cannot find the used ring", address(() => ({ used: 1n << 63n }))],
  ["an odd available ring", "a multiple of 2", address(({ avail }) => ({ avail: avail + 1n }))],
  ["a misaligned used ring", "a multiple of 4", address(({ used }) => ({ used: used + 2n }))],
  ["misaligned descriptors", "a multiple of 16", address(({ desc }) => ({ desc: desc + 8n }))],
  [
    "a kick before addresses",
    "not all set",
    offend("SET_VRING_KICK", { index: 0, noFd: false }, kickOf),
  ],
  [
    "a call without its descriptor",
    "0 came, expected 1",
    offend("SET_VRING_CALL", { index: 0, noFd: false }),
  ],
  [
    "a call with one too many",
    "1 came, expected 0",
    offend("SET_VRING_CALL", { index: 0, noFd: true }, kickOf),
  ],
  [
    "two calls",
    "2 descriptors came, expected 0 to 1",
    offend(
      "SET_VRING_CALL",
      { index: 0, noFd: false },
      (driver) => [...kickOf(driver), ...kickOf(driver)],
    ),
  ],
  [
    "a call that is a file",
    "expected an eventfd",
    offend(
      "SET_VRING_CALL",
      { index: 0, noFd: false },
      (driver) => [driver.fd.number],
    ),
  ],
  [
    "an error descriptor that is a file",
    "expected an eventfd",
    offend(
      "SET_VRING_ERR",
      { index: 0, noFd: false },
      (driver) => [driver.fd.number],
    ),
  ],
  [
    "a kick that is a socket",
    "expected an eventfd",
    after(
      ["SET_VRING_KICK"],
      (raw) => raw.tell("SET_VRING_KICK", { index: 0, noFd: false }, [raw.socket.number], 0x9),
    ),
  ],
  ["enable with 2", "the value is 2", offend("SET_VRING_ENABLE", { index: 0, num: 2 })],
  [
    "a size while running",
    "expected it stopped",
    after([], offend("SET_VRING_NUM", { index: 0, num: 8 })),
  ],
  [
    "a base while running",
    "expected it stopped",
    after([], offend("SET_VRING_BASE", { index: 0, num: 8 })),
  ],
  ["features while running", "expected them stopped", after([], offend("SET_FEATURES", BIT_30))],
  [
    "memory that takes a running ring away",
    "Cannot set up queue 0",
    after([], memory(() => ({ guest: 0n }))),
  ],
  [
    "a base far from the used index",
    "ahead by at most 16",
    after(["SET_VRING_KICK"], (raw, driver) => {
      raw.tell("SET_VRING_BASE", { index: 0, num: 17 });
      raw.tell("SET_VRING_KICK", { index: 0, noFd: false }, kickOf(driver), 0x9);
    }),
  ],
  [
    "a write past the config space",
    "bytes 11 to 13",
    offend("SET_CONFIG", {
      offset: 11,
      flags: 0,
      data: new Uint8Array(2),
    }),
  ],
  [
    "a message that is not offered",
    "Cannot handle GET_STATUS",
    offend("GET_STATUS", undefined),
  ],
  ...([
    ["no queue", { queues: 0 }, "0 queues of 16 entries, expected 1 to 4 of 1 to 64"],
    ["a queue too many", { queues: 5 }, "5 queues of 16 entries, expected 1 to 4"],
    ["no entry", { queueSize: 0 }, "1 queues of 0 entries, expected 1 to 4 of 1 to 64"],
    ["an entry too many", { queueSize: 65 }, "1 queues of 65 entries"],
  ] as const).flatMap(([name, change, text]): Offence[] => [
    [
      `in-flight memory to be created for ${name}`,
      `Cannot handle GET_INFLIGHT_FD for echo: ${text}`,
      offend("GET_INFLIGHT_FD", { ...INFLIGHT, ...change }),
    ],
    [
      `in-flight memory for ${name}`,
      `Cannot handle SET_INFLIGHT_FD for echo: ${text}`,
      offend("SET_INFLIGHT_FD", { ...INFLIGHT, ...change }, memoryOf),
    ],
  ]),
  ...([
    [
      "a byte too small",
      { size: 319n },
      "319 bytes at 0 of a file of 65536, expected at least 320",
    ],
    ["past its file's end", { offset: 0x10000n }, "320 bytes at 65536 of a file of 65536"],
    ["of 2^64 - 1 bytes", { size: (1n << 64n) - 1n }, "expected at least 320"],
    ["inside a page", { offset: 64n }, "320 bytes at 64 of a file"],
  ] as const).map(([name, change, text]): Offence => [
    `in-flight memory ${name}`,
    text,
    offend("SET_INFLIGHT_FD", { ...INFLIGHT, ...change }, memoryOf),
  ]),
  [
    "in-flight memory without a descriptor",
    "0 descriptors came, expected 1 to 1",
    offend("SET_INFLIGHT_FD", INFLIGHT),
  ],
  [
    "in-flight memory in an eventfd",
    "Cannot",
    offend("SET_INFLIGHT_FD", INFLIGHT, kickOf),
  ],
  [
    "in-flight memory while a ring runs",
    "expected them stopped",
    after([], offend("SET_INFLIGHT_FD", INFLIGHT, memoryOf)),
  ],
  [
    "a ring larger than its in-flight memory",
    "Cannot use the in-flight memory of queue 0 of echo, a ring of 16 entries: it is for 1 queues of 8",
    (raw, driver) => {
      raw.tell("SET_INFLIGHT_FD", { ...INFLIGHT, queueSize: 8 }, memoryOf(driver));
      return raw.ring(driver, 0, ["SET_VRING_ENABLE"]).then(() => enable(raw));
    },
  ],
  [
    "in-flight memory with a version of its own",
    "its version is 7, expected 1",
    (raw, driver) => {
      driver.bytes[8] = 7;
      raw.tell("SET_INFLIGHT_FD", INFLIGHT, memoryOf(driver));
      return raw.ring(driver, 0, ["SET_VRING_ENABLE"]).then(() => enable(raw));
    },
  ],
  [
    "a message that does not exist",
    "request 9999",
    (raw) => raw.send(encodeMessage(9999, 0x9, new Uint8Array())),
  ],
  ["request 0", "request 0", (raw) => raw.send(encodeMessage(0, 0x9, new Uint8Array()))],
  [
    "a descriptor where none belongs",
    "1 descriptors came, expected 0 to 0",
    offend(
      "SET_OWNER",
      undefined,
      kickOf,
    ),
  ],
  [
    "a short payload",
    "its payload has 4 bytes, expected 8",
    (raw) => raw.send(encodeMessage(8, 0x9, new Uint8Array(4))),
  ],
  [
    "a long payload",
    "its payload has 4096 bytes, expected 0",
    (raw) => raw.send(encodeMessage(3, 0x9, new Uint8Array(4096))),
  ],
];

for (const [name, text, act] of OFFENCES) {
  Deno.test(`refused with a failure and an end: ${name}`, async () => {
    const before = openDescriptors();
    {
      await using bench = new Bench();
      using driver = new Driver(1);
      const raw = await bench.agreed();
      await act(raw, driver);
      const replies = [await raw.reply()];
      if (replies[0] === NACK) replies.push(await raw.reply());
      assertEquals(replies.at(-1), "lost");
      assertEquals(bench.errors.length, 1, bench.errors.join("; "));
      assert(bench.errors[0]!.includes(text), bench.errors[0]);
      if (!LAST_UNASKED.has(name)) assertEquals(replies[0], NACK);
      assertEquals(bench.device.log.at(-1), "disconnected, 0 rings left");
      await bench.expectService();
    }
    assertEquals(openDescriptors(), before);
  });
}

/** These fail at a message before the one that asks for an answer. */
const LAST_UNASKED = new Set([
  "descriptors outside memory",
  "an available ring outside memory",
  "a used ring outside memory",
]);
