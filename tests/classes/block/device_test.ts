// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { SpecError } from "../../../lib/device/role.ts";
import { device as role } from "../../../lib/classes/block/device.ts";
import { IoSlots } from "../../../lib/classes/block/io_slots.ts";
import type { BlockSpec } from "../../../lib/classes/block/spec.ts";
import * as wire from "../../../lib/classes/block/wire.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";
import { seeded } from "../../support/random.ts";
import { Disk, head, rangesOf, Spy } from "./device_fixture.ts";

const { S_OK, S_IOERR, S_UNSUPP, T_IN, T_OUT, T_DISCARD, T_WRITE_ZEROES, T_GET_ID } = wire;

/** A file of zeros that is removed at the end. */
class TestFile implements Disposable {
  readonly path = Deno.makeTempFileSync({ prefix: "viola-block-" });

  constructor(bytes: number) {
    Deno.truncateSync(this.path, bytes);
  }

  /** Bytes that it occupies on its medium. */
  get allocated(): number {
    return Deno.statSync(this.path).blocks! * 512;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}

/** A test of a disk in memory and of one in a file. */
function forBoth(
  what: string,
  spec: BlockSpec,
  test: (make: (more?: BlockSpec) => Disk) => void,
): void {
  Deno.test(`${what}, in memory`, () =>
    test((more) => new Disk({ sizeMiB: 64, ...spec, ...more })));
  Deno.test(`${what}, in a file`, () => {
    using file = new TestFile(64 * 2 ** 20);
    test((more) => new Disk({ file: file.path, ...spec, ...more }));
  });
}

forBoth("what is written is read, whatever its size and its pieces", {}, (make) => {
  using disk = make();
  const draws = seeded();
  for (const sectors of [1, 8, 255, 256, 257, 700]) {
    const data = draws.bytes(sectors * 512);
    const sector = 1000 + sectors;
    const cuts = [data.subarray(0, 100), data.subarray(100, 511), data.subarray(511)];
    assertEquals(disk.do([head(T_OUT, sector), ...cuts], [1]), {
      status: S_OK,
      data: new Uint8Array(),
      written: 1,
    });
    const rooms = [1, 200, data.length - 201, 1];
    assertEquals(disk.do([head(T_IN, sector)], rooms), {
      status: S_OK,
      data,
      written: data.length + 1,
    });
    assertEquals(disk.read(sector - 1, 512).data, new Uint8Array(512));
    assertEquals(disk.write(sector, new Uint8Array(data.length)), S_OK);
  }
});

forBoth(
  "a request's header may be split anywhere, and the status may follow the data in one segment",
  {},
  (make) => {
    using disk = make();
    const data = new Uint8Array(512).fill(7);
    const whole = new Uint8Array([...head(T_OUT, 5), ...data]);
    assertEquals(
      disk.do([whole.subarray(0, 3), whole.subarray(3, 15), whole.subarray(15)], [1]).status,
      S_OK,
    );
    assertEquals(disk.do([head(T_IN, 5)], [513]), { status: S_OK, data, written: 513 });
  },
);

forBoth("many requests at once are all answered, each with its own data", {}, (make) => {
  using disk = make({ queues: 4 });
  const draws = seeded();
  const datas = Array.from({ length: 40 }, () => draws.bytes(8192));
  const writes = datas.map((data, i) => disk.send(i % 4, [head(T_OUT, 16 * i), data], [1]));
  for (const token of writes) assertEquals(disk.wait(token).status, S_OK);
  const reads = datas.map((_, i) => disk.send(3 - i % 4, [head(T_IN, 16 * i)], [8192, 1]));
  reads.forEach((token, i) => assertEquals(disk.wait(token).data, datas[i]));
});

/** Requests that break a rule, and their status. */
function badRequests(
  capacity: number,
  block: Uint8Array,
): [name: string, pieces: Uint8Array[], rooms: number[], status: number][] {
  return [
    ["a head cut short", [head(T_IN).subarray(0, 15)], [4096, 1], S_IOERR],
    ["no head", [], [1], S_IOERR],
    ["an unknown type", [head(99)], [1], S_UNSUPP],
    ["SCSI", [head(2)], [1], S_UNSUPP],
    ["secure erase", [head(14), rangesOf({ sectors: 8 })], [1], S_UNSUPP],
    ["a read of half a block", [head(T_IN)], [2048, 1], S_IOERR],
    ["a read of parts of a sector", [head(T_IN)], [4097, 1], S_IOERR],
    ["a read between blocks", [head(T_IN, 4)], [4096, 1], S_IOERR],
    ["a read at the end", [head(T_IN, capacity)], [4096, 1], S_IOERR],
    ["a read over the end", [head(T_IN, capacity - 8)], [8192, 1], S_IOERR],
    ["a read far beyond", [head(T_IN, 2 ** 52)], [4096, 1], S_IOERR],
    ["a write over the end", [head(T_OUT, capacity), block], [1], S_IOERR],
    ["a write of half a block", [head(T_OUT), block.subarray(2048)], [1], S_IOERR],
    ["no ranges", [head(T_DISCARD)], [1], S_IOERR],
    ["half a range", [head(T_DISCARD), rangesOf({ sectors: 8 }).subarray(8)], [1], S_IOERR],
    ["too many ranges", [head(T_DISCARD), rangesOf(...new Array(17).fill({}))], [1], S_IOERR],
    [
      "a range over the end",
      [head(T_DISCARD), rangesOf({ sector: capacity, sectors: 8 })],
      [1],
      S_IOERR,
    ],
    ["parts of a block", [head(T_WRITE_ZEROES), rangesOf({ sectors: 1 })], [1], S_IOERR],
    ["too many zeros", [head(T_WRITE_ZEROES), rangesOf({ sectors: 32776 })], [1], S_IOERR],
    // §5.2.6.2: "The device MUST set the status byte to VIRTIO_BLK_S_UNSUPP for discard, secure erase and write zeroes
    // commands if any unknown flag is set", and "for discard commands if the unmap flag is set".
    [
      "an unknown flag",
      [head(T_WRITE_ZEROES), rangesOf({ sectors: 8, flags: 2 })],
      [1],
      S_UNSUPP,
    ],
    ["a discard to unmap", [head(T_DISCARD), rangesOf({ sectors: 8, flags: 1 })], [1], S_UNSUPP],
    ["an identifier without room", [head(T_GET_ID)], [19, 1], S_IOERR],
  ];
}

forBoth(
  "bad requests are refused with a status, and the next is served",
  { blockSize: 4096 },
  (make) => {
    using disk = make();
    const { capacity } = disk.config;
    const block = new Uint8Array(4096);
    disk.write(0, block.fill(9));
    for (const [name, pieces, rooms, status] of badRequests(capacity, block)) {
      const answer = disk.do(pieces, rooms);
      assertEquals(answer.status, status, name);
      const room = rooms.reduce((sum, n) => sum + n, 0);
      assertEquals([answer.written, answer.data.some((n) => n !== 0)], [room, false], name);
    }
    assertEquals(disk.read(0, 4096).data, block);
    assertEquals(disk.bench.events, []);
  },
);

Deno.test("a request without room for a status is returned and reported", () => {
  using disk = new Disk({});
  assertEquals(disk.do([head(T_IN)], []).written, 0);
  assertEquals(disk.bench.events.map(({ text }) => text), [
    "Cannot answer a request in queue 0 of block: it has room for 0 bytes, expected 1",
  ]);
  assertEquals(disk.flush(), S_OK);
});

forBoth("ranges are discarded and filled with zeros", {}, (make) => {
  using disk = make();
  const data = new Uint8Array(65536).fill(5);
  for (const [type, flags] of [[T_DISCARD, 0], [T_WRITE_ZEROES, 0], [T_WRITE_ZEROES, 1]] as const) {
    disk.write(0, data);
    const ranges = rangesOf(
      { sector: 8, sectors: 8, flags },
      { sector: 100, sectors: 0, flags },
      { sector: 64, sectors: 3, flags },
    );
    assertEquals(disk.do([head(type), ranges], [1]).status, S_OK);
    const expected = data.slice();
    expected.fill(0, 8 * 512, 16 * 512);
    expected.fill(0, 64 * 512, 67 * 512);
    assertEquals(disk.read(0, data.length).data, expected);
  }
});

Deno.test("what is discarded is given back to the file system", () => {
  using file = new TestFile(2 ** 24);
  using disk = new Disk({ file: file.path });
  disk.write(0, new Uint8Array(2 ** 20).fill(1));
  assertEquals(disk.flush(), S_OK);
  const before = file.allocated;
  disk.do([head(T_DISCARD), rangesOf({ sectors: 2048 })], [1]);
  assertEquals(disk.flush(), S_OK);
  assert(file.allocated <= before - 2 ** 20 + 65536, `${before}, then ${file.allocated}`);
});

Deno.test("a disk beyond 2^32 sectors is read and written at both ends", () => {
  using file = new TestFile(0);
  try {
    Deno.truncateSync(file.path, 3 * 2 ** 40);
  } catch {
    return; // a file system of smaller files
  }
  using disk = new Disk({ file: file.path });
  const { capacity } = disk.config;
  assertEquals(capacity, 6 * 2 ** 30);
  const data = new Uint8Array(512).fill(3);
  for (const sector of [0, 2 ** 32 - 1, 2 ** 32, capacity - 1]) {
    assertEquals(disk.read(sector, 512).data, new Uint8Array(512), `${sector}`);
    assertEquals(disk.write(sector, data), S_OK);
    assertEquals(disk.read(sector, 512).data, data);
  }
});

Deno.test("its identifier is the serial, or the end of the file's name", () => {
  using file = new TestFile(4096);
  for (
    const [spec, id] of [
      [{ file: file.path }, file.path.split("/").at(-1)!.slice(-20)],
      [{ serial: "12345678901234567890" }, "12345678901234567890"],
      [{}, "memory"],
    ] as const
  ) {
    using disk = new Disk(spec);
    const { status, data } = disk.do([head(T_GET_ID)], [20, 1]);
    assertEquals([status, new TextDecoder().decode(data).replace(/\0+$/, "")], [S_OK, id]);
  }
});

Deno.test("a read-only disk offers no way to change it, and refuses one", () => {
  using file = new TestFile(8192);
  Deno.writeFileSync(file.path, new Uint8Array(8192).fill(4));
  using disk = new Disk({ file: file.path, access: "read-only" });
  const has = (bit: number) => (disk.bench.device.features & 1n << BigInt(bit)) !== 0n;
  assertEquals([has(wire.F_RO), has(wire.F_DISCARD), has(wire.F_WRITE_ZEROES)], [
    true,
    false,
    false,
  ]);
  assertEquals(disk.write(0, new Uint8Array(512)), S_IOERR);
  const range = rangesOf({ sectors: 8 });
  for (const type of [T_DISCARD, T_WRITE_ZEROES]) {
    assertEquals(disk.do([head(type), range], [1]).status, S_UNSUPP);
  }
  assertEquals(disk.flush(), S_OK);
  assertEquals(disk.read(0, 8192).data, new Uint8Array(8192).fill(4));
});

Deno.test("the config space describes the disk", () => {
  using file = new TestFile(2 ** 20 + 5000);
  using disk = new Disk({ file: file.path, blockSize: 4096, queues: 3, cache: "writethrough" });
  assertEquals(disk.config, {
    capacity: 2056,
    sizeMax: 32768,
    segMax: 126,
    geometry: { cylinders: 0, heads: 0, sectors: 0 },
    blockSize: 4096,
    topology: { physicalBlockExp: 0, alignmentOffset: 0, minIoSize: 1, optIoSize: 0 },
    writeback: 0,
    queueCount: 3,
    discard: { maxSectors: 2 ** 22, maxRanges: 16, alignment: 8 },
    writeZeroes: { maxSectors: 2 ** 15, maxRanges: 16, mayUnmap: 1 },
  });
  assertEquals(disk.bench.device.queueCount, 3);
});

Deno.test("only the write cache can be set, only by a driver that may, and for its life", () => {
  using disk = new Disk({});
  const { device } = disk.bench;
  const set = (offset: number, ...bytes: number[]): number => {
    device.writeConfig(offset, Uint8Array.from(bytes));
    return disk.config.writeback;
  };
  const { capacity } = disk.config;
  assertEquals([set(32, 0), set(32, 7), set(0, 1, 2, 3), set(32, 1), set(30, 0, 0, 0)], [
    0,
    0,
    0,
    1,
    0,
  ]);
  assertEquals(disk.config.capacity, capacity);
  disk.bench.stop(0);
  device.disconnected();
  assertEquals(disk.config.writeback, 1);
  device.featuresAccepted(device.features & ~(1n << BigInt(wire.F_CONFIG_WCE)));
  assertEquals(set(32, 0), 1);
  // A front-end that goes on with a driver tells what that has set before it tells the features.
  device.disconnected();
  assertEquals(set(32, 0), 0);
});

Deno.test("a file that cannot be a disk is refused before the device listens", () => {
  using small = new TestFile(511);
  using taken = new TestFile(4096);
  using _owner = new Disk({ file: taken.path });
  const cases: [BlockSpec, RegExp][] = [
    [{ file: "" }, /an empty path/],
    [{ file: small.path }, /it has 511 bytes, expected at least 512/],
    [{ file: taken.path }, /Cannot lock .*\(EAGAIN\); another process uses it as a disk/],
    [{ file: taken.path, sizeMiB: 1 }, /Cannot set the size/],
    [{ sizeMiB: 0 }, /a size in MiB of 0, expected 1 to 65536/],
    [{ queues: 17 }, /a number of queues of 17, expected 1 to 16/],
    [{ blockSize: 1000 }, /blocks of 1000 bytes/],
    [{ serial: "123456789012345678901" }, /expected 1 to 20 characters/],
  ];
  for (const [spec, message] of cases) {
    const error = assertThrows(() => role.check(spec), SpecError);
    assert(message.test(error.message), error.message);
  }
  assertThrows(() => role.check({ file: "/dev/null" }), Error, "neither a file nor a block device");
  assertThrows(() => role.check({ file: "/nowhere/disk" }), Error, "ENOENT");
});

Deno.test("a queue that stops has its requests answered first", () => {
  using file = new TestFile(2 ** 24);
  using bench = new DeviceBench(role, { file: file.path });
  const { device } = bench;
  device.featuresAccepted(device.features);
  const wiring = new Wiring(device);
  wiring.start();
  const places = Array.from({ length: 20 }, (_, i) => {
    const data = new Uint8Array(150_000 - 150_000 % 512).fill(i + 1);
    return wiring.offer(0, i + 1, [head(T_OUT, 300 * i), data], [1])[0]!;
  });
  bench.stop(0);
  for (let i = 0; i < 20; i++) assert(wiring.queues[0]!.take() !== null, `${i}`);
  assertEquals(places.map((at) => wiring.bytes[at]), places.map(() => S_OK));
  const written = Deno.readFileSync(file.path);
  for (let i = 0; i < 20; i++) assertEquals(written[300 * 512 * i + 100], i + 1);
  device.disconnected();
});

Deno.test("a queue that is to stop waits for a slow medium without blocking, and 20 s for the next operation", () => {
  using file = new TestFile(2 ** 24);
  using bench = new DeviceBench(role, { file: file.path, queues: 2 });
  const { clock, device, events } = bench;
  device.featuresAccepted(device.features);
  const wiring = new Wiring(device);
  wiring.start();
  const { isDone } = IoSlots.prototype;
  IoSlots.prototype.isDone = () => false; // the medium is stuck
  try {
    const [place] = wiring.offer(0, 1, [head(T_OUT), new Uint8Array(512)], [1]);
    assertEquals(device.drainRing(0), false);
    wiring.offer(0, 2, [head(wire.T_GET_ID)], [20, 1]);
    assertEquals(wiring.queues[0]!.take(), null, "no more of its chains are taken");
    wiring.offer(1, 1, [head(wire.T_GET_ID)], [20, 1]);
    assertEquals(wiring.queues[1]!.take()?.token, 1, "the other queue is served meanwhile");
    clock.pass(19_999);
    assertEquals([wiring.rings[0]!.isDrained, events], [false, []]);
    clock.pass(1);
    assertEquals([wiring.rings[0]!.isDrained, device.drainRing(0)], [true, true]);
    assertEquals([wiring.queues[0]!.take()?.token, wiring.bytes[place!]], [1, wire.S_IOERR]);
    const text = `Cannot finish 1 requests of queue 0 on ${file.path}: none was done within 20 s`;
    assertEquals(events, [{ kind: "error", text }]);
  } finally {
    IoSlots.prototype.isDone = isDone;
  }
  for (const index of [0, 1]) bench.stop(index);
  device.disconnected();
});

Deno.test("no request begins while a thread still works on one of an abandoned queue", () => {
  using file = new TestFile(2 ** 24);
  using bench = new DeviceBench(role, { file: file.path });
  using spy = new Spy();
  const { device } = bench;
  device.featuresAccepted(device.features);
  const first = new Wiring(device);
  first.start();
  const { isDone } = IoSlots.prototype;
  IoSlots.prototype.isDone = () => false; // the threads take as long as the test likes
  try {
    for (let i = 0; i < 8; i++) {
      first.offer(0, i + 1, [head(T_OUT, 0), new Uint8Array(2 ** 17).fill(100)], [1]);
    }
    device.stopRing(0, true);
    device.disconnected();
    device.featuresAccepted(device.features);
    assertEquals(first.queues[0]!.take(), null);
    const second = new Wiring(device);
    second.start();
    second.offer(0, 1, [head(T_OUT, 0), new Uint8Array(512).fill(1)], [1]);
    const [place] = second.offer(0, 2, [head(T_IN, 0)], [512, 1]);
    assertEquals(spy.ops.length, 8);
    IoSlots.prototype.isDone = isDone;
    bench.stop(0);
    device.disconnected();
    assertEquals(spy.ops.length, 10);
    assertEquals([second.queues[0]!.take()?.length, second.queues[0]!.take()?.length].sort(), [
      1,
      513,
    ]);
    assert([1, 100].includes(second.bytes[place!]!), "of the write or before it");
    assertEquals(Deno.readFileSync(file.path)[0], 1);
    assertEquals(first.queues[0]!.take(), null);
  } finally {
    IoSlots.prototype.isDone = isDone;
  }
});

Deno.test("a file that becomes shorter gives I/O errors", () => {
  using file = new TestFile(2 ** 20);
  using disk = new Disk({ file: file.path });
  disk.write(0, new Uint8Array(4096).fill(1));
  Deno.truncateSync(file.path, 4096);
  const answer = disk.read(8, 4096);
  assertEquals([answer.status, answer.data], [S_IOERR, new Uint8Array(4096)]);
  assertEquals(disk.read(0, 4096).status, S_OK);
  assertEquals(disk.bench.events.map(({ text }) => text), [
    `Cannot read ${file.path}: input/output error (EIO)`,
  ]);
});
