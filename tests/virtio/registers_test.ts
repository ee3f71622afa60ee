// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertMatch } from "@std/assert";
import { queueLayout } from "../../lib/virtio/queue_registers.ts";
import {
  DEVICE_COUNTERS,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
} from "../../lib/virtio/state.ts";
import { Driver, hex, NEGOTIATE_2, NEGOTIATE_LEGACY, setUp1, setUp2 } from "./register_fixture.ts";
import { type Mistake, V1 } from "./register_fixture.ts";

/** As Linux probes version 1. */
function probe1(driver: Driver): void {
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
}

/** As Linux sets the queues up, version 1. */
function setUpQueues1(driver: Driver): void {
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
}

/** As Linux uses and unbinds a device, version 1. */
function use1(driver: Driver): void {
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
}

/** As Linux binds it again, and what was counted. */
function rebind1(driver: Driver): void {
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
}

Deno.test("a version 1 device is probed, used and taken down as Linux does it", () => {
  const driver = new Driver(V1);
  probe1(driver);
  setUpQueues1(driver);
  use1(driver);
  rebind1(driver);
});

/** As Linux probes version 2. */
function probe2(driver: Driver): void {
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
}

/** As Linux sets the queues up, version 2. */
function setUpQueues2(driver: Driver): void {
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
}

/** As Linux uses and unbinds a device, version 2. */
function use2(driver: Driver): void {
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
}

Deno.test("a version 2 device is probed, used and taken down as Linux does it", () => {
  const driver = new Driver();
  probe2(driver);
  setUpQueues2(driver);
  use2(driver);
});

Deno.test("a legacy driver goes from DRIVER to DRIVER_OK without FEATURES_OK", () => {
  const driver = new Driver(V1).run(NEGOTIATE_LEGACY + setUp1(0) + "w 070 7\nr 070 7");
  assertEquals(driver.events().at(-1), "status 0x3 -> 0x7");
  assertEquals(driver.state.driverFeatures, 0x30000000n);
  assertEquals(driver.state.counters[DEVICE_COUNTERS.badAccesses], 0);
});

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

Deno.test("after FEATURES_OK is refused the driver may choose other features and try again", () => {
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

Deno.test("a driver may set FAILED at any time", () => {
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
