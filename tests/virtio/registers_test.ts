// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { queueLayout } from "../../lib/virtio/queue_registers.ts";
import { REGISTERS } from "../../lib/virtio/registers.ts";
import {
  DEVICE_COUNTERS,
  type DeviceState,
  type DeviceStateOptions,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  isQueueSize,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_FEATURES_OK,
} from "../../lib/virtio/state.ts";
import { AccessState } from "../../lib/virtio/state_writers.ts";
import {
  ACCESS,
  Driver,
  hex,
  NEGOTIATE_2,
  NEGOTIATE_LEGACY,
  QUEUE_RESET,
  setUp1,
  setUp2,
} from "./register_fixture.ts";

const V1: Partial<DeviceStateOptions> = { mmioVersion: 1 };
const RING_RESET = { deviceFeatures: 1n << 32n | 1n << 40n };

Deno.test("a version 1 device is probed, used and taken down as Linux does it", () => {
  const driver = new Driver(V1);
  driver.run(`
    r 000 74726976  # "virt"
    r 004 1
    r 008 19        # sound
    r 00c 4c4f4956
    w 028 1000      # page size: before the reset, and never again
    w 070 0
    r 070 0
    w 070 1
    r 070 1
    w 070 3
    w 014 1
    r 010 1
    w 014 0
    r 010 30000000
    w 024 1
    w 020 1         # VERSION_1 is acknowledged though the registers are version 1
    w 024 0
    w 020 30000000
    r 070 3
    w 070 b
    r 070 b
  `);
  assertEquals(driver.events(), [
    "reset at status 0x0",
    "status 0x0 -> 0x1",
    "status 0x1 -> 0x3",
    "status 0x3 -> 0xb",
  ]);
  for (let i = 0; i < 4; i++) {
    driver.run(`
      w 030 ${i}
      r 040 0
      r 034 40
      w 038 40
      w 03c 1000
      w 040 104d${i}
      r 040 104d${i}
    `);
  }
  assertEquals(queueLayout(driver.state, 3), {
    index: 3,
    size: 64,
    desc: 0x104d3000,
    avail: 0x104d3400,
    used: 0x104d4000,
  });
  driver.run(`
    r1 100 2        # jacks, byte by byte
    r1 101 0
    r1 104 3        # streams
    r1 108 1        # channel maps
    r1 10f 11
    w 050 1         # the event queue is filled before DRIVER_OK
    r 070 b
    w 070 f
    w 050 0
  `);
  assertEquals(driver.events(), ["notify 1", "status 0xb -> 0xf", "notify 0"]);
  driver.ring.raiseInterruptStatus(INTERRUPT_USED_BUFFER);
  driver.run(`
    r 060 1
    w 064 1
    r 060 0
    w 070 0         # unbind
    w 030 0
    w 040 0
    w 030 3
    w 040 0
    r 040 0
  `);
  assertEquals(driver.events(), ["reset at status 0x0"]);
  assertEquals(driver.state.driverFeatures, 0n);
  driver.run(`
    w 070 1         # bind: no page size again
    w 070 3
    w 024 1
    w 020 1
    w 024 0
    w 020 0
    w 070 b
    w 030 0
    r 040 0
    w 038 40
    w 03c 1000
    w 040 20000
    r 040 20000
    w 070 f
    r 070 f
  `);
  assertEquals(queueLayout(driver.state, 0).desc, 0x20000000);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.notifications], 2);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.resets], 2);
});

Deno.test("a version 2 device is probed, used and taken down as Linux does it", () => {
  const driver = new Driver();
  driver.run(`
    r 000 74726976
    r 004 2
    r 008 19
    r 00c 4c4f4956
    w 070 0
    r 070 0
    w 070 1
    r 070 1
    w 070 3
    w 014 1
    r 010 1
    w 014 0
    r 010 30000000
    w 024 1
    w 020 1
    w 024 0
    w 020 30000000
    r 070 3
    w 070 b
    r 070 b
    r 0fc 0
    r 100 2         # jacks
    r 104 3         # streams
    r 108 1         # channel maps
    r 10c 11223344
    r2 10c 3344
    r2 10e 1122
    r 0fc 0
    w 0ac 0
    r 0b0 ffffffff  # no shared memory
    r 0b4 ffffffff
  `);
  for (let i = 0; i < 4; i++) {
    driver.run(`
      w 030 ${i}
      r 044 0
      r 034 40
      w 038 20      # a driver may ask for less than there is
      w 080 0004${i}000
      w 084 1
      w 090 0004${i}200
      w 094 1
      w 0a0 0004${i}400
      w 0a4 2
      w 044 1
      r 044 1
    `);
  }
  assertEquals(queueLayout(driver.state, 2), {
    index: 2,
    size: 32,
    desc: 0x1_0004_2000,
    avail: 0x1_0004_2200,
    used: 0x2_0004_2400,
  });
  driver.events();
  driver.run(`
    r 070 b
    w 070 f
    w 050 3
  `);
  assertEquals(driver.events(), ["status 0xb -> 0xf", "notify 3"]);
  driver.ring.raiseInterruptStatus(INTERRUPT_CONFIG_CHANGE);
  driver.ring.raiseInterruptStatus(INTERRUPT_USED_BUFFER);
  driver.run(`
    r 060 3
    w 064 1         # only what it saw
    r 060 2
    w 064 2
    r 060 0
    w 070 0
    r 070 0
    w 030 2
    w 044 0
    r 044 0
  `);
  assertEquals(driver.events(), ["reset at status 0x0"]);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

Deno.test("a legacy driver goes from DRIVER to DRIVER_OK without FEATURES_OK", () => {
  const driver = new Driver(V1).run(NEGOTIATE_LEGACY + setUp1(0) + "w 070 7\nr 070 7");
  assertEquals(driver.events().at(-1), "status 0x3 -> 0x7");
  assertEquals(driver.state.driverFeatures, 0x30000000n);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

/** A driver's mistake: the accesses, what the status must be then, what must be said. */
interface Mistake {
  readonly name: string;
  readonly options?: Partial<DeviceStateOptions>;
  readonly script: string;
  readonly status: number;
  readonly says: RegExp;
}

const STATUS_MISTAKES: Mistake[] = [
  { name: "DRIVER before ACKNOWLEDGE", script: "w 070 2", status: 0, says: /0x1 before 0x2/ },
  { name: "FEATURES_OK first", script: "w 070 1\nw 070 9", status: 1, says: /0x3 before 0x8/ },
  { name: "DRIVER_OK first", script: "w 070 1\nw 070 5", status: 1, says: /0x3 before 0x4/ },
  { name: "a bit that is none", script: "w 070 1\nw 070 11", status: 1, says: /no such bit/ },
  { name: "more than a byte", script: "w 070 101", status: 0, says: /no such bit/ },
  { name: "the top bit", script: "w 070 80000001", status: 0, says: /0x80000001 .* no such bit/ },
  {
    name: "the device's own bit",
    script: "w 070 1\nw 070 41",
    status: 1,
    says: /only the device sets DEVICE_NEEDS_RESET/,
  },
  {
    name: "a bit cleared",
    script: "w 070 1\nw 070 3\nw 070 2",
    status: 3,
    says: /only a reset clears 0x1/,
  },
  {
    name: "DRIVER_OK cleared",
    script: NEGOTIATE_2 + "w 070 f\nw 070 b",
    status: 0xf,
    says: /only a reset clears 0x4/,
  },
  {
    name: "features not offered",
    script: "w 070 3\nw 024 1\nw 020 1\nw 024 0\nw 020 1\nw 070 b",
    status: 3,
    says:
      /Cannot set FEATURES_OK: driver accepted VIRTIO_SND_F_CTLS, which is not offered; offered: VIRTIO_F_RING_IND/,
  },
  {
    name: "high features not offered",
    script: "w 070 3\nw 024 1\nw 020 80000001\nw 070 b",
    status: 3,
    says: /accepted bit 63/,
  },
  {
    name: "features beyond bit 63",
    script: "w 070 3\nw 024 1\nw 020 1\nw 024 2\nw 020 1\nw 070 b",
    status: 3,
    says: /bits beyond 63/,
  },
  {
    name: "version 2 without VERSION_1",
    script: "w 070 3\nw 024 0\nw 020 30000000\nw 070 b",
    status: 3,
    says: /VIRTIO_F_VERSION_1/,
  },
  {
    name: "version 2 without FEATURES_OK",
    script: "w 070 3\nw 024 1\nw 020 1\nw 070 7",
    status: 0x43,
    says: /Cannot set DRIVER_OK: expected FEATURES_OK/,
  },
  {
    name: "FEATURES_OK and DRIVER_OK at once",
    script: "w 070 3\nw 024 1\nw 020 1\nw 070 f",
    status: 0x4b,
    says: /expected FEATURES_OK before/,
  },
  {
    name: "version 1 with VERSION_1 without FEATURES_OK",
    options: V1,
    script: "w 070 3\nw 024 1\nw 020 1\nw 070 7",
    status: 0x43,
    says: /expected FEATURES_OK before/,
  },
  {
    name: "a legacy driver's features not offered",
    options: V1,
    script: "w 070 3\nw 024 0\nw 020 2\nw 070 7",
    status: 0x43,
    says: /Cannot set DRIVER_OK: driver accepted bit 1,/,
  },
  {
    name: "FEATURES_OK while the device runs",
    options: V1,
    script: NEGOTIATE_LEGACY + "w 070 7\nw 070 f",
    status: 7,
    says: /Cannot set FEATURES_OK: the device is running/,
  },
  {
    name: "features changed after FEATURES_OK",
    script: NEGOTIATE_2 + "w 024 0\nw 020 30000000",
    status: 0xb,
    says: /features are negotiated already/,
  },
  {
    name: "a legacy driver's features changed after DRIVER_OK",
    options: V1,
    script: NEGOTIATE_LEGACY + "w 070 7\nw 020 0",
    status: 7,
    says: /features are negotiated already/,
  },
];

for (const { name, options, script, status, says } of STATUS_MISTAKES) {
  Deno.test(`status order is kept against ${name}`, () => {
    const driver = new Driver(options).run(script);
    assertEquals(hex(driver.state.status), hex(status));
    assertMatch(driver.events().filter((text) => text.startsWith("Cannot")).join("\n"), says);
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 1);
  });
}

Deno.test("refused features can be mended before FEATURES_OK is tried again", () => {
  const driver = new Driver().run(`
    w 070 1
    w 070 3
    w 020 30000000
    w 070 b
    r 070 3
    w 024 1
    w 020 1
    w 070 b
    r 070 b
  `);
  assertEquals(driver.state.driverFeatures, 0x1_3000_0000n);
});

Deno.test("features agreed on stay as they are, whatever is written later", () => {
  const driver = new Driver().run(NEGOTIATE_2 + "w 024 0\nw 020 30000000\nw 024 1\nw 020 0");
  assertEquals(driver.state.driverFeatures, 0x1_0000_0000n);
});

Deno.test("feature words beyond the second read 0 and can be written 0", () => {
  const driver = new Driver().run(`
    w 014 2
    r 010 0
    w 014 ffffffff
    r 010 0
    w 024 2
    w 020 0
    w 024 ffffffff
    w 020 0
    ${NEGOTIATE_2.replace("w 024 0\nw 020 0", "w 024 0\nw 020 30000000")}
    r 070 b
    w 014 2
    r 010 0
  `);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

Deno.test("a driver that gives up says so at any time", () => {
  const driver = new Driver().run("w 070 80\nr 070 80\nw 070 0\nw 070 1\nw 070 81\nr 070 81");
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

for (
  const [when, script, status] of [
    ["after its own reset", NEGOTIATE_2 + "w 070 0\nw 070 80", "80"],
    ["in the middle of it", NEGOTIATE_2 + setUp2(0) + "w 070 8b", "8b"],
    ["when the device needs a reset", "w 070 1\nw 070 3\nw 070 7\nw 070 c3", "c3"],
  ] as const
) {
  Deno.test(`a device whose probe failed ${when} is probed again as Linux does it, without a reset`, () => {
    const driver = new Driver().run(`${script}\nr 070 ${status}`);
    const bad = driver.state.counters[DEVICE_COUNTERS.badAccesses];
    const { epoch } = driver.state;
    driver.events();
    driver.run(`w 070 ${(parseInt(status, 16) | STATUS_DRIVER).toString(16)}\nr 070 3`);
    assertEquals(driver.events(), ["reset at status 0x0"]);
    assertEquals(driver.state.epoch, epoch + 1);
    driver.run(`${NEGOTIATE_2.replace("w 070 0\nw 070 1\n", "")}${setUp2(0)}w 070 f\nr 070 f`);
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], bad);
  });
}

Deno.test("DEVICE_NEEDS_RESET raised between a driver's read and write of the status stays", () => {
  const driver = new Driver().run("w 070 1");
  driver.state.orStatus(STATUS_DEVICE_NEEDS_RESET);
  driver.run("w 070 3\nr 070 43\nw 070 c3\nr 070 c3\nw 070 0\nr 070 0");
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

Deno.test("a device that needs a reset does not start", () => {
  const driver = new Driver().run(NEGOTIATE_2);
  driver.state.orStatus(STATUS_DEVICE_NEEDS_RESET);
  driver.run("w 070 4f\nr 070 4b");
  assertMatch(driver.events().join("\n"), /Cannot set DRIVER_OK: the device needs a reset/);
});

Deno.test("a status written again changes nothing and reports nothing", () => {
  const driver = new Driver().run("w 070 1\nw 070 1\nw 070 3\nw 070 3");
  assertEquals(driver.events(), ["status 0x0 -> 0x1", "status 0x1 -> 0x3"]);
});

const setUp2With = (change: string) =>
  NEGOTIATE_2 + `w 030 2
  w 038 40
  w 080 1000
  w 090 2000
  w 0a0 3000
  ${change}
  w 044 1
  r 044 0
  r 070 4b`;
const setUp1With = (change: string) =>
  NEGOTIATE_LEGACY + `w 030 2
  w 038 40
  w 03c 1000
  ${change}
  r 040 0
  r 070 43`;

const QUEUE_MISTAKES: Mistake[] = [
  { name: "size 0", script: setUp2With("w 038 0"), status: 0x4b, says: /queue 2 has size 0,/ },
  {
    name: "size 48",
    script: setUp2With("w 038 30"),
    status: 0x4b,
    says: /Cannot set up queue 2: queue 2 has size 48, expected a power of 2 of at most 64/,
  },
  { name: "size 128", script: setUp2With("w 038 80"), status: 0x4b, says: /has size 128/ },
  { name: "size 2^31", script: setUp2With("w 038 80000000"), status: 0x4b, says: /has size 2147/ },
  {
    name: "size 2^32 - 1",
    script: setUp2With("w 038 ffffffff"),
    status: 0x4b,
    says: /has size 4294967295/,
  },
  {
    name: "a descriptor table at 8",
    script: setUp2With("w 080 1008"),
    status: 0x4b,
    says: /queue 2 has its descriptor table at 0x1008, expected a multiple of 16/,
  },
  {
    name: "an odd available ring",
    script: setUp2With("w 090 2001"),
    status: 0x4b,
    says: /available ring at 0x2001, expected a multiple of 2/,
  },
  {
    name: "a used ring at 2",
    script: setUp2With("w 0a0 3002\nw 0a4 1"),
    status: 0x4b,
    says: /used ring at 0x100003002, expected a multiple of 4/,
  },
  {
    name: "an address of 2^53",
    script: setUp2With("w 084 200000"),
    status: 0x4b,
    says: /descriptor table at 0x20000000001000, expected an end below 2\^53/,
  },
  {
    name: "an address of all ones",
    script: setUp2With("w 094 ffffffff\nw 090 fffffffe"),
    status: 0x4b,
    says: /available ring at 0xfffffffffffffffe, expected an end/,
  },
  {
    name: "an end beyond 2^53",
    script: setUp2With("w 0a4 1fffff\nw 0a0 fffffffc"),
    status: 0x4b,
    says: /used ring at 0x1ffffffffffffc, expected an end below/,
  },
  {
    name: "a queue before FEATURES_OK",
    script: "w 070 1\nw 070 3\n" + setUp2(0).replace("r 044 1", "r 044 0"),
    status: 0x43,
    says: /queue 0: status is 0x3, expected 0x8 in it/,
  },
  {
    name: "a queue after DRIVER_OK",
    script: NEGOTIATE_2 + "w 070 f" + setUp2(3).replace("r 044 1", "r 044 0"),
    status: 0x4f,
    says: /queue 3: status is 0xf, expected before DRIVER_OK/,
  },
  {
    name: "QueueReady 2",
    script: NEGOTIATE_2 + setUp2(1) + "w 044 2",
    status: 0xb,
    says: /QueueReady 0x2 of queue 1/,
  },
  {
    name: "a queue set up twice",
    script: NEGOTIATE_2 + setUp2(1) + "w 044 1",
    status: 0xb,
    says: /queue 1: it is set up already/,
  },
  {
    name: "a size changed under a queue",
    script: NEGOTIATE_2 + setUp2(1) + "w 038 8",
    status: 0xb,
    says: /Cannot change queue 1: it is set up already/,
  },
  {
    name: "an address changed under a queue",
    script: NEGOTIATE_2 + setUp2(1) + "w 0a4 8",
    status: 0xb,
    says: /Cannot change queue 1/,
  },
  {
    name: "a queue that does not exist",
    script: NEGOTIATE_2 + "w 030 4\nr 034 0\nr 044 0\nw 044 1\nr 044 0",
    status: 0xb,
    says: /Cannot write QueueReady: queue 4 does not exist, expected less than 4/,
  },
  {
    name: "the size of a queue that does not exist",
    script: "w 030 ffffffff\nw 038 40",
    status: 0,
    says: /queue 4294967295 does not exist/,
  },
  {
    name: "QueueReset without VIRTIO_F_RING_RESET",
    script: NEGOTIATE_2 + setUp2(1) + "w 0c0 1\nr 044 1",
    status: 0xb,
    says: /VIRTIO_F_RING_RESET is not negotiated/,
  },
  {
    name: "a legacy size of 65",
    options: V1,
    script: setUp1With("w 038 41\nw 040 40000"),
    status: 0x43,
    says: /queue 2 has size 65/,
  },
  {
    name: "a legacy alignment never set",
    options: V1,
    script: setUp1With("w 03c 0\nw 040 40000"),
    status: 0x43,
    says: /queue 2 has alignment 0, expected a power of 2/,
  },
  {
    name: "a legacy alignment of 4095",
    options: V1,
    script: setUp1With("w 03c fff\nw 040 40000"),
    status: 0x43,
    says: /alignment 4095/,
  },
  {
    name: "a legacy alignment of 2",
    options: V1,
    script: setUp1With("w 038 2\nw 03c 2\nw 040 40000"),
    status: 0x43,
    says: /used ring at 0x4000002a, expected a multiple of 4/,
  },
  {
    name: "a page that is no table's",
    options: V1,
    script: `w 028 8\n${setUp1With("w 028 8\nw 040 1")}`,
    status: 0x43,
    says: /descriptor table at 0x8, expected a multiple of 16/,
  },
  {
    name: "the last page frame of the largest pages",
    options: V1,
    script: setUp1With("w 028 80000000\nw 040 ffffffff"),
    status: 0x43,
    says: /descriptor table at 0x7fffffff80000000, expected an end/,
  },
  {
    name: "a page frame without a page size",
    options: V1,
    script: "w 070 1\nw 070 3\nw 038 40\nw 03c 1000\nw 040 40000\nr 040 0",
    status: 0x43,
    says: /GuestPageSize is not set/,
  },
  {
    name: "a page size of 1000",
    options: V1,
    script: "w 028 3e8",
    status: 0,
    says: /Cannot set GuestPageSize 1000: expected a power of 2/,
  },
  {
    name: "a second page frame",
    options: V1,
    script: NEGOTIATE_LEGACY + setUp1(0) + "w 040 5\nr 040 40000",
    status: 3,
    says: /queue 0: it is set up already/,
  },
  {
    name: "a legacy queue before DRIVER",
    options: V1,
    script: "w 028 1000\nw 070 1" + setUp1(1).replace("r 040 40010", "r 040 0"),
    status: 0x41,
    says: /queue 1: status is 0x1, expected 0x2 in it/,
  },
];

for (const { name, options, script, status, says } of QUEUE_MISTAKES) {
  Deno.test(`queue set-up is kept against ${name}`, () => {
    const driver = new Driver(options).run(script);
    assertEquals(hex(driver.state.status), hex(status));
    const events = driver.events();
    assertMatch(events.filter((text) => text.startsWith("Cannot")).join("\n"), says);
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 1);
    // A device that breaks tells, so that the driver can be interrupted.
    assertEquals(events.some((text) => / -> 0x4.$/.test(text)), status > 0x40);
  });
}

Deno.test("a ring may end at the last byte below 2^53", () => {
  // a used ring of size 1 has 6 + 8 bytes; the last multiple of 4 that leaves room for them
  new Driver().run(
    NEGOTIATE_2 + `
    w 030 0
    w 038 1
    w 080 1000
    w 090 2000
    w 0a0 fffffff0
    w 0a4 1fffff
    w 044 1
    r 044 1
    r 070 b
  `,
  );
});

Deno.test("notifications reach queues that are set up, before DRIVER_OK too, and no others", () => {
  const driver = new Driver().run(NEGOTIATE_2 + setUp2(1));
  driver.events();
  driver.run(`
    w 050 1
    w 050 0
    w 050 4
    w 050 ffffffff
    w 050 10001
  `);
  assertEquals(driver.events(), ["notify 1", "Cannot notify: queue 0 is not set up"]);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.notifications], 1);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 4);
});

Deno.test("a queue taken back is reported once and can be set up again", () => {
  for (
    const { options, negotiate, setUp, takeBack } of [
      { options: {}, negotiate: NEGOTIATE_2, setUp: setUp2(1), takeBack: "w 044 0\nr 044 0" },
      { options: V1, negotiate: NEGOTIATE_LEGACY, setUp: setUp1(1), takeBack: "w 040 0\nr 040 0" },
    ]
  ) {
    const driver = new Driver(options).run(negotiate + setUp);
    driver.events();
    const epoch = driver.state.queues[1]!.epoch;
    driver.run(takeBack + "\n" + takeBack);
    assertEquals(driver.events(), ["queue 1 reset, ready false"]);
    assertEquals(driver.state.queues[1]!.epoch, epoch + 1);
    assertThrows(() => queueLayout(driver.state, 1), RangeError, "queue 1: it is not set up");
    driver.run(setUp);
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
  }
});

Deno.test("QueueReset takes back one queue of a running device, which may set it up again", () => {
  const negotiate = NEGOTIATE_2.replace("w 020 1\n", "w 020 101\n");
  const driver = new Driver(RING_RESET).run(negotiate + setUp2(0) + setUp2(1) + "w 070 f");
  driver.events();
  driver.run(`
    w 030 1
    w 0c0 1
    r 0c0 0
    r 044 0
    w 050 1
    w 050 0
  `);
  assertEquals(driver.events(), [
    "queue 1 reset, ready false",
    "Cannot notify: queue 1 is not set up",
    "notify 0",
  ]);
  driver.run(setUp2(1) + "w 050 1\nr 070 f");
  assertEquals(driver.events(), ["notify 1"]);
});

Deno.test("the layout of a queue that does not exist is refused", () => {
  for (const index of [-1, 4, NaN]) {
    assertThrows(() => queueLayout(new Driver().state, index), RangeError, `queue ${index}`);
  }
});

Deno.test("STATUS 0 in the middle of anything leaves a device that can be probed", () => {
  const whole = NEGOTIATE_2 + setUp2(0) + setUp2(1) + setUp2(2) + setUp2(3) + "w 070 f\nw 050 2";
  const lines = whole.trim().split(/\n+/);
  for (let cut = 0; cut <= lines.length; cut++) {
    const driver = new Driver().run(lines.slice(0, cut).join("\n"));
    driver.ring.raiseInterruptStatus(INTERRUPT_USED_BUFFER | INTERRUPT_CONFIG_CHANGE);
    driver.state.orStatus(STATUS_DEVICE_NEEDS_RESET);
    const { epoch } = driver.state;
    driver.run("w 070 0\nr 070 0\nr 060 0\nr 010 30000000");
    assertEquals(driver.events().at(-1), "reset at status 0x0");
    assertEquals(driver.state.epoch, epoch + 1);
    assertEquals(driver.state.driverFeatures, 0n);
    for (let i = 0; i < 4; i++) driver.run(`w 030 ${i}\nr 034 40\nr 044 0`);
    driver.run(whole + "\nr 070 f");
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
  }
});

Deno.test("a kernel with other pages can follow one that never reset the device", () => {
  const driver = new Driver(V1).run(NEGOTIATE_LEGACY + setUp1(0) + "w 070 7");
  driver.run(`
    w 028 10000     # 64 KiB
    w 030 0
    r 040 4000      # the same place, in its pages
    w 070 0
    w 070 1
    w 070 3
    r 040 0
    w 038 40
    w 03c 10000
    w 040 5
    r 040 5
    w 070 7
  `);
  const { desc, used } = queueLayout(driver.state, 0);
  assertEquals([desc, used], [0x50000, 0x60000]);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

Deno.test("a queue's set-up does not outlive a reset", () => {
  const driver = new Driver().run(NEGOTIATE_2 + setUp2(0) + NEGOTIATE_2 + "w 030 0\nw 044 1");
  assertMatch(driver.events().join("\n"), /queue 0 has size 0/);
});

Deno.test("config space is read and written by 1, 2 and 4 bytes within its size", () => {
  const driver = new Driver().run(`
    w1 103 aa
    w2 104 1bbcc
    w 108 ddeeff00
    r1 103 aa
    r2 104 bbcc
    r 104 bbcc
    r 108 ddeeff00
    r 100 aa000002
  `);
  assertEquals(driver.events(), ["config 3+1", "config 4+2", "config 8+4"]);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

Deno.test("config space is kept against every other access", () => {
  const before = new Driver().state.config;
  for (
    const [offset, size] of [
      [0x110, 1], // the first byte beyond the 16 there are
      [0x110, 4],
      [0x1ff, 1],
      [0x200, 4],
      [0xfffffffc, 4],
      [2 ** 53, 1],
      [Infinity, 1],
      [0x101, 2],
      [0x102, 4],
      [0x10e, 4],
      [0x100, 0],
      [0x100, 3],
      [0x100, 8],
      [0x100, -1],
      [0x100, NaN],
      [0x100 + 0.5, 1],
    ] as const
  ) {
    const driver = new Driver();
    assertEquals(driver.registers.read(offset, size), 0);
    driver.registers.write(offset, size, 0xffffffff);
    assertEquals(driver.state.config, before);
    assertMatch(driver.events().join("\n"), /^Cannot read .* of the config space: [^\n]*$/);
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 2);
  }
});

Deno.test("a device without config space has none to read", () => {
  const driver = new Driver({ deviceId: 4, queueSizes: [64], config: new Uint8Array() });
  driver.run("r1 100 0\nr 100 0");
  assertEquals(driver.events(), ["Cannot read 1 bytes at 0 of the config space: it has 0"]);
});

Deno.test("a driver that reads the generation before and after sees one version of the config", () => {
  const driver = new Driver().run("r 0fc 0\nr 100 2");
  driver.main.publishConfig(new Uint8Array(16).fill(7));
  driver.run("r 104 7070707\nr 0fc 1"); // moved: it reads all again
  driver.run("r 100 7070707\nr 0fc 1");
  driver.run("w1 100 9");
  driver.main.publishConfig(new Uint8Array(16).fill(8)); // what the device says counts, not what was written
  driver.run("r 100 8080808\nr 0fc 2");
});

/** What a driver of this version may do at an offset of the register page: "", "r", "w" or "rw". */
function allowed(version: 1 | 2, offset: number): string {
  const name = REGISTERS.find((register) => register.offset === offset)?.name;
  if (name === QUEUE_RESET.name) return QUEUE_RESET.access[version - 1]!;
  return ACCESS.find((row) => row[1] === name)?.[version + 1] ?? "";
}

/** All of a device's state that a driver can touch, as text. */
function image(state: DeviceState): string {
  const { status, interruptStatus, driverFeatures, queueSel, guestPageSize, config } = state;
  const selectors = [state.deviceFeaturesSel, state.driverFeaturesSel, queueSel, guestPageSize];
  const queues = state.queues.map((queue) =>
    queue.ready ? Object.values(queueLayout(state, queue.index)) : [queue.num, queue.align]
  );
  return `${[status, interruptStatus, driverFeatures, selectors, config, queues]}`;
}

const PLACES_16 = { mmioVersion: 1, maxQueueSetups: 16 } as const;
const PROBE_1 = `${NEGOTIATE_LEGACY}${[0, 1, 2, 3].map(setUp1).join("")}`;

Deno.test("version 1: a probe for which the loopback driver has no room is refused as a whole", () => {
  const driver = new Driver(PLACES_16);
  for (let probe = 1; probe <= 4; probe++) driver.run(PROBE_1);
  assertEquals(driver.state.queueSetups, 16);
  assertEquals(driver.events().filter((text) => text.startsWith("Cannot")), []);
  // The fifth: no queue is there for the driver, however often it asks.
  driver.run(`${NEGOTIATE_LEGACY} w 030 0 \n r 034 0 \n w 030 3 \n r 034 0`);
  const refused =
    "Cannot let a driver probe the device again: the loopback driver has room for 16 " +
    "queue set-ups of virtio-mmio version 1 in its life, 16 are used, and the device has 4 queues " +
    "(restart the machine; --mmio-version 2 has no such limit)";
  assertEquals(driver.events().filter((text) => text.startsWith("Cannot")), [refused]);
  assertEquals(driver.state.queueSetups, 16);
  // One that looks at no answer has overflowed the driver by itself; here it gets nothing for it.
  driver.run("w 030 0 \n w 038 40 \n w 03c 1000 \n w 040 40000 \n r 040 0");
  assertEquals(driver.events(), [
    "Cannot set up queue 0: QueueNumMax was 0",
    "status 0x3 -> 0x43",
  ]);
});

Deno.test("version 1: a probe that ends half-way has used what it set up, and a process that restores the state knows it", () => {
  const driver = new Driver(PLACES_16);
  driver.run(`${NEGOTIATE_LEGACY}${setUp1(0)}${setUp1(1)}`);
  for (let probe = 1; probe <= 3; probe++) driver.run(PROBE_1);
  assertEquals(driver.state.queueSetups, 14);
  const restored = AccessState.open(driver.memory);
  assertEquals([restored.queueSetups, restored.maxQueueSetups], [14, 16]);
  driver.run(`${NEGOTIATE_LEGACY} w 030 0 \n r 034 0`);
});

Deno.test("version 1: a probe is not refused for the queues that it has set up itself", () => {
  const driver = new Driver({ mmioVersion: 1, maxQueueSetups: 4 });
  driver.run(NEGOTIATE_LEGACY);
  for (let queue = 0; queue < 4; queue++) {
    driver.run(`w 030 ${queue} \n r 034 40 \n ${setUp1(queue)}`);
  }
  assertEquals(driver.state.queueSetups, 4);
});

Deno.test("without a limit, and in version 2, queues are set up any number of times", () => {
  const legacy = new Driver({ mmioVersion: 1 });
  const modern = new Driver();
  for (let probe = 1; probe <= 20; probe++) {
    legacy.run(PROBE_1);
    modern.run(`${NEGOTIATE_2}${[0, 1, 2, 3].map(setUp2).join("")}`);
  }
  for (const { state } of [legacy, modern]) {
    assertEquals([state.queueSetups, state.maxQueueSetups], [0, 0]);
  }
});

for (const version of [1, 2] as const) {
  Deno.test(`version ${version}: every other offset and size reads 0 and changes nothing`, () => {
    const driver = new Driver({ mmioVersion: version });
    const untouched = image(driver.state);
    let bad = 0;
    for (let offset = 0; offset < 0x100; offset++) {
      for (const size of [0, 1, 2, 3, 4, 8]) {
        const may = size === 4 ? allowed(version, offset) : "";
        if (!may.includes("r")) {
          assertEquals(driver.registers.read(offset, size), 0);
          assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], ++bad, hex(offset));
        }
        if (!may.includes("w")) {
          driver.registers.write(offset, size, 1);
          assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], ++bad, hex(offset));
        }
      }
    }
    assertEquals(image(driver.state), untouched);
    const kinds = [
      /^Cannot read 0 bytes at 0x0: expected 4 bytes at a multiple of 4$/,
      /^Cannot write 0x1 to MagicValue \(0x0\): it is read-only$/,
      /^Cannot read DeviceFeaturesSel \(0x14\): it is write-only$/,
      new RegExp(`^Cannot read 4 bytes at 0x18: virtio-mmio ${version} has no register there$`),
    ];
    const events = driver.events().sort();
    assertEquals(events.length, kinds.length);
    for (const kind of kinds) assert(events.some((text) => kind.test(text)), `${kind}`);
  });

  Deno.test(`version ${version}: every register that may be read or written can be`, () => {
    for (let offset = 0; offset < 0x100; offset += 4) {
      const driver = new Driver({ mmioVersion: version });
      if (allowed(version, offset).includes("r")) driver.registers.read(offset, 4);
      // 0 is lawful everywhere, but there is no page size 0 and no queue ready to be notified
      const lawful = ![0x28, 0x50, 0xc0].includes(offset);
      if (allowed(version, offset).includes("w") && lawful) driver.registers.write(offset, 4, 0);
      assertEquals(driver.events().filter((text) => text.startsWith("Cannot")), [], hex(offset));
    }
  });
}

Deno.test("offsets, sizes and values that are no numbers of a register are harmless", () => {
  const odd = [-4, -1, 0.5, 2.5, 2 ** 32, 2 ** 53, -(2 ** 31), Infinity, -Infinity, NaN];
  for (const number of odd) {
    const driver = new Driver();
    const untouched = image(driver.state);
    assertEquals(driver.registers.read(number, 4), 0);
    assertEquals(driver.registers.read(0, number), 0);
    driver.registers.write(number, 4, 1);
    driver.registers.write(0x070, number, 1);
    assertEquals(image(driver.state), untouched);
    assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 4, `${number}`);
    driver.registers.write(0x030, 4, number);
    assertEquals(driver.state.queueSel, number >>> 0);
  }
});

Deno.test("a flood of bad accesses is counted, not told", () => {
  const driver = new Driver();
  for (let i = 0; i < 1000; i++) {
    driver.run("w 000 1\nr 070 0\nw 070 2\nw 070 4\nr 0c4 0\nr2 070 0\nr 1fc 0\nw 050 9");
    driver.run("w 030 99\nw 038 40\nw 044 1\nw 070 0");
  }
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 9000);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.accesses], 12000);
  assertEquals(driver.events().filter((text) => text.startsWith("Cannot")).length, 7);
});

/** Numbers that a driver could write, lawful and not, from a small generator with a seed. */
function randomNumbers(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return Math.floor(x / 2 ** 32 * below);
  };
}

/** What must hold of a device after any access. */
function checkInvariants({ state, memory }: Driver): void {
  assertEquals(state.status & ~0xcf, 0);
  for (const queue of state.queues) {
    if (queue.ready) assert(isQueueSize(queueLayout(state, queue.index).size));
  }
  if ((state.status & STATUS_FEATURES_OK) !== 0) {
    assertEquals(state.driverFeatures & ~state.deviceFeatures, 0n);
  }
  assertEquals(image(AccessState.open(memory)), image(state));
}

Deno.test("whatever a driver does, the state stays one that a successor can open", () => {
  const writesOf = (script: string) => script.replace(/^r.*$/gm, "");
  const odd = [0, 1, 2, 3, 7, 8, 0xf, 0x40, 0x80, 0x1000, 0x30000000, 0xfffffff0, 0xffffffff];
  const offsets = [...REGISTERS.map(({ offset }) => offset), 0x100, 0x104, 0x10c, 0x110];
  for (const mmioVersion of [1, 2] as const) {
    const [negotiate, setUp] = mmioVersion === 1
      ? [NEGOTIATE_LEGACY, setUp1]
      : [NEGOTIATE_2.replace("w 020 1\n", "w 020 101\n"), setUp2];
    const driver = new Driver({ mmioVersion, deviceFeatures: 0x101_3000_0000n });
    let ready = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const random = randomNumbers(seed);
      const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
      driver.run(negotiate);
      for (let step = 0; step < 20; step++) {
        // lawful set-up now and then, or nothing unlawful would meet a queue that is set up
        if (random(4) === 0) driver.run(writesOf(setUp(random(4))));
        driver.registers.write(pick(offsets), 4, pick(odd));
        driver.registers.read(pick(offsets), 4);
        checkInvariants(driver);
        ready += driver.state.queues.filter((queue) => queue.ready).length;
      }
    }
    assert(ready > 1000, `only ${ready} looks at queues that are set up`);
    // what is remembered of a hostile driver stays small
    assert(driver.events().filter((text) => text.startsWith("Cannot")).length < 30);
  }
});
