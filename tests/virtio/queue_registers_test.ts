// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { queueLayout } from "../../lib/virtio/queue_registers.ts";
import {
  DEVICE_COUNTERS,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_DEVICE_NEEDS_RESET,
} from "../../lib/virtio/state.ts";
import { Driver, hex, NEGOTIATE_2, NEGOTIATE_LEGACY, setUp1, setUp2 } from "./register_fixture.ts";
import { type Mistake, V1 } from "./register_fixture.ts";

const RING_RESET = { deviceFeatures: 1n << 32n | 1n << 40n };

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

Deno.test("a queue that the driver resets is reported once and can be set up again", () => {
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

Deno.test("QueueReset resets one queue of a running device, and it can be set up again", () => {
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

Deno.test("after a reset at any moment the device can be probed", () => {
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

Deno.test("a driver with another page size can follow one that never reset the device", () => {
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
