// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertMatch } from "@std/assert";
import { queueLayout } from "../../lib/virtio/queue_registers.ts";
import { REGISTERS } from "../../lib/virtio/registers.ts";
import {
  DEVICE_COUNTERS,
  type DeviceState,
  isQueueSize,
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

Deno.test("config space accesses of other sizes, alignments and offsets change nothing", () => {
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

Deno.test("every bad access is counted, and only the first of each kind is reported", () => {
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

Deno.test("whatever a driver does, the next process can open the state", () => {
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
