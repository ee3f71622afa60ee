// SPDX-License-Identifier: Apache-2.0
// Every access in its order, as Linux's drivers make them.
import { assertEquals, assertThrows } from "@std/assert";
import { GuestError } from "../../lib/guest/error.ts";
import { entropyBench, soundBench } from "./harness.ts";

/** One access per line, without comments. */
function accesses(text: string): string[] {
  return text.split("\n").map((line) => line.replace(/\/\/.*/, "").trim()).filter((line) => line);
}

const BASE = 0x4000_0000;

Deno.test("a version 1 entropy device is probed as Linux does", () => {
  const { port, session } = entropyBench({ mmioVersion: 1 });
  session.probe(0);
  assertEquals(
    port.accesses,
    accesses(`
      R 0x000 = 0x74726976
      R 0x004 = 0x1
      R 0x008 = 0x4
      R 0x00c = 0x4c474121
      W 0x028 = 0x1000 // GUEST_PAGE_SIZE
      W 0x070 = 0x0
      R 0x070 = 0x0
      W 0x070 = 0x1
      R 0x070 = 0x1
      W 0x070 = 0x3
      W 0x014 = 0x1 // features, high then low
      R 0x010 = 0x1
      W 0x014 = 0x0
      R 0x010 = 0x1000000
      W 0x024 = 0x1
      W 0x020 = 0x1
      W 0x024 = 0x0
      W 0x020 = 0x0
      R 0x070 = 0x3
      W 0x070 = 0xb
      R 0x070 = 0xb
      W 0x030 = 0x0 // the queue
      R 0x040 = 0x0
      R 0x034 = 0x40
      W 0x038 = 0x40
      W 0x03c = 0x1000
      W 0x040 = 0x${(BASE / 4096).toString(16)}
      R 0x070 = 0xb
      W 0x070 = 0xf
      W 0x050 = 0x0 // there is always a request
      R 0x070 = 0xf
    `),
  );
  assertEquals(port.device.log.bad, []);
});

Deno.test("a version 2 entropy device is probed as Linux does", () => {
  const { port, session } = entropyBench({ indirect: true, eventIdx: true });
  session.probe(0);
  assertEquals(
    port.accesses,
    accesses(`
      R 0x000 = 0x74726976
      R 0x004 = 0x2
      R 0x008 = 0x4
      R 0x00c = 0x4c474121
      W 0x070 = 0x0
      R 0x070 = 0x0
      W 0x070 = 0x1
      R 0x070 = 0x1
      W 0x070 = 0x3
      W 0x014 = 0x1
      R 0x010 = 0x1
      W 0x014 = 0x0
      R 0x010 = 0x31000000
      W 0x024 = 0x1
      W 0x020 = 0x1
      W 0x024 = 0x0
      W 0x020 = 0x30000000 // without NOTIFY_ON_EMPTY
      R 0x070 = 0x3
      W 0x070 = 0xb
      R 0x070 = 0xb
      W 0x030 = 0x0
      R 0x044 = 0x0
      R 0x034 = 0x40
      W 0x038 = 0x40
      W 0x080 = 0x40000000
      W 0x084 = 0x0
      W 0x090 = 0x40000400
      W 0x094 = 0x0
      W 0x0a0 = 0x40001000
      W 0x0a4 = 0x0
      W 0x044 = 0x1
      R 0x070 = 0xb
      W 0x070 = 0xf
      W 0x050 = 0x0
      R 0x070 = 0xf
    `),
  );
  assertEquals(port.device.log.bad, []);
});

Deno.test("a sound card's four queues are set up before it is asked anything", () => {
  for (const mmioVersion of [1, 2] as const) {
    const { port, session } = soundBench({ mmioVersion });
    session.probe(0);
    const register = mmioVersion === 1 ? "0x040" : "0x044";
    const setUp = port.accesses.filter((access) => access.startsWith(`W ${register}`));
    assertEquals(setUp.length, 4);
    const ready = port.accesses.indexOf("W 0x070 = 0xf");
    const kicks = port.accesses.flatMap((access, i) => access.startsWith("W 0x050") ? [i] : []);
    // The event queue was filled without a kick.
    assertEquals(kicks.map((i) => port.accesses[i]), new Array(3).fill("W 0x050 = 0x0"));
    assertEquals(kicks.every((i) => i > ready), true);
    assertEquals(port.device.log.bad, []);
    assertEquals(port.device.sound.controls, ["JACK_INFO", "PCM_INFO", "CHMAP_INFO"]);
  }
});

Deno.test("the config space is read byte by byte in version 1, by words in version 2", () => {
  const reads = (mmioVersion: 1 | 2): string[] => {
    const { port, session } = soundBench({ mmioVersion });
    session.probe(0);
    return port.accesses.filter((access) => /^R\d? 0x1/.test(access));
  };
  assertEquals(reads(2), ["R 0x100 = 0x1", "R 0x104 = 0x2", "R 0x108 = 0x2"]);
  assertEquals(reads(1), [
    ...["R1 0x100 = 0x1", "R1 0x101 = 0x0", "R1 0x102 = 0x0", "R1 0x103 = 0x0"],
    ...["R1 0x104 = 0x2", "R1 0x105 = 0x0", "R1 0x106 = 0x0", "R1 0x107 = 0x0"],
    ...["R1 0x108 = 0x2", "R1 0x109 = 0x0", "R1 0x10a = 0x0", "R1 0x10b = 0x0"],
  ]);
});

Deno.test("an interrupt is read and acknowledged, whatever it is for", () => {
  const { port, session, progress } = entropyBench();
  session.probe(0);
  port.accesses.length = 0;
  session.readEntropy(1);
  assertEquals(port.accesses, ["R 0x060 = 0x1", "W 0x064 = 0x1"]);
  port.device.interrupt = true; // spurious
  session.onInterrupt();
  assertEquals(port.accesses.slice(2), ["R 0x060 = 0x0", "W 0x064 = 0x0"]);
  port.device.ringState.raiseInterruptStatus(2);
  port.device.interrupt = true;
  session.onInterrupt();
  assertEquals(port.accesses.slice(4), ["R 0x060 = 0x2", "W 0x064 = 0x2"]);
  assertEquals(progress.get("interrupts"), 3);
});

Deno.test("unbind resets, takes the queues down and acknowledges the device again; probe then only binds", () => {
  for (const mmioVersion of [1, 2] as const) {
    const { port, session } = entropyBench({ mmioVersion });
    session.probe(0);
    port.accesses.length = 0;
    session.unbind();
    const down = mmioVersion === 1 ? ["W 0x040 = 0x0"] : ["W 0x044 = 0x0", "R 0x044 = 0x0"];
    assertEquals(port.accesses, [
      "W 0x070 = 0x0",
      "W 0x030 = 0x0",
      ...down,
      ...["R 0x070 = 0x0", "R 0x070 = 0x0", "W 0x070 = 0x1"],
    ]);
    port.accesses.length = 0;
    session.probe(0);
    assertEquals(port.accesses.slice(0, 2), ["R 0x070 = 0x1", "W 0x070 = 0x3"]);
    assertEquals(port.device.log.resets, 2);
    assertEquals(port.device.log.bad, []);
    assertEquals(session.readEntropy(100).length, 100);
  }
});

Deno.test("reset forgets the device: probe identifies it again, and its rings are elsewhere", () => {
  const { port, session } = entropyBench();
  session.probe(0);
  const first = port.device.state.queues[0]!.desc;
  port.accesses.length = 0;
  session.reset();
  assertEquals(port.accesses[0], "W 0x070 = 0x0");
  session.probe(0);
  assertEquals(port.accesses.filter((access) => access === "R 0x000 = 0x74726976").length, 1);
  assertEquals(port.device.state.queues[0]!.desc === first, false);
  session.reset();
  session.reset();
  assertThrows(() => session.readEntropy(1), GuestError, "it is not bound");
  assertThrows(() => session.unbind(), GuestError, "it is not bound");
  assertThrows(() => session.measureAccess(1), GuestError, "it is not bound");
});

/** A device that answers some registers otherwise. */
function withRegisters(answers: Record<number, number>) {
  const bench = entropyBench();
  const { registers } = bench.port.device;
  const read = registers.read.bind(registers);
  registers.read = (offset, size) => answers[offset] ?? read(offset, size);
  return bench;
}

Deno.test("a device that cannot be driven is refused as Linux refuses it", () => {
  const cases: [Record<number, number>, string][] = [
    [{ 0x000: 0x74726977 }, "its magic is 0x74726977, expected 0x74726976 (ENODEV)"],
    [{ 0x004: 0 }, "its version is 0, expected 1 or 2 (ENXIO)"],
    [{ 0x004: 3 }, "its version is 3, expected 1 or 2 (ENXIO)"],
    [{ 0x008: 0 }, "its device id is 0, a placeholder's (ENODEV)"],
    [{ 0x008: 25 }, "its class is 25, expected 4 (ENODEV)"],
    [{ 0x010: 0 }, "it offers none, expected VIRTIO_F_VERSION_1 too (EINVAL)"],
    [{ 0x070: 3 }, "it refuses VIRTIO_F_VERSION_1 (ENODEV)"],
    [{ 0x044: 1 }, "queue 0 (input) is in use already (ENOENT)"],
    [{ 0x034: 0 }, "it has no queue 0 (input) (ENOENT)"],
    [{ 0x034: 48 }, "queue 0 (input) has size 48, expected a power of 2 (EINVAL)"],
    [{ 0x034: 65536 }, "queue 0 (input) has size 65536, expected a power of 2 (EINVAL)"],
  ];
  for (const [answers, text] of cases) {
    const { session } = withRegisters(answers);
    const error = assertThrows(() => session.probe(0), GuestError);
    assertEquals(error.message, `Cannot drive rng0: ${text}`);
  }
});

Deno.test("a failed probe leaves FAILED in the status, and can be tried again", () => {
  const { port, session } = soundBench({ script: { config: [0, 300, 0] } });
  const error = assertThrows(() => session.probe(0), GuestError, "counts 300 items of PCM_INFO");
  assertEquals(error.code, "EINVAL");
  assertEquals(port.device.state.status, 0x80);
  assertEquals(port.device.log.resets, 2);
  assertThrows(() => session.probe(0), GuestError, "counts 300 items");
  assertEquals(port.device.log.bad, []);
});

Deno.test("a bound device is not probed again", () => {
  const { session } = entropyBench();
  session.probe(0);
  assertThrows(() => session.probe(0), GuestError, "it is bound already (EBUSY)");
});
