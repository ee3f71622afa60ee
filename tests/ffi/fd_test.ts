// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  closeNumber,
  createPipe,
  EventFd,
  Fd,
  ioctl,
  monotonicNs,
  O_RDONLY,
  OsError,
  readFd,
  readSystemFile,
  readSystemLink,
  setNonblocking,
  signalEvent,
  takeEvent,
  TimerFd,
  WOULD_BLOCK,
  writeFd,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

/** Whether a number is an open descriptor of this process. */
function isOpen(number: number): boolean {
  try {
    Deno.readLinkSync(`/proc/self/fd/${number}`);
    return true;
  } catch {
    return false;
  }
}

Deno.test("Fd closes its number once, so that a second close does not close another's", async () => {
  await withoutLeaks(() => {
    const first = EventFd.create();
    const { number } = first;
    first.close();
    assert(!isOpen(number));
    // The kernel gives the lowest free number: the next descriptor has the one that was just closed.
    using second = EventFd.create();
    assertEquals(second.number, number);
    first.close();
    first[Symbol.dispose]();
    assert(isOpen(number));
    assertThrows(() => first.number, TypeError, "closed");
    assertThrows(() => first.duplicate(), TypeError, "closed");
    assertThrows(() => first.release(), TypeError, "closed");
    assert(first.closed && !second.closed);
  });
});

Deno.test("Fd.release() gives the number away open, for another to close", async () => {
  await withoutLeaks(() => {
    const fd = EventFd.create();
    const number = fd.release();
    assert(fd.closed);
    fd.close();
    assert(isOpen(number));
    closeNumber(number);
    assert(!isOpen(number));
  });
});

Deno.test("Fd.duplicate() makes an independent descriptor", async () => {
  await withoutLeaks(() => {
    const fd = EventFd.create();
    using copy = fd.duplicate();
    fd.close();
    signalEvent(copy.number);
    assertEquals(takeEvent(copy.number), 1);
  });
});

Deno.test("Fd.open() and size()", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(file, new Uint8Array(12345));
    using fd = Fd.open(file, O_RDONLY);
    assertEquals(fd.size(), 12345);
    const error = assertThrows(() => Fd.open(`${file}/no`, O_RDONLY), OsError, `open ${file}/no`);
    assertEquals(error.code, "ENOTDIR");
    assertThrows(() => Fd.open("a\0b", O_RDONLY), TypeError, "NUL");
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("an eventfd counts its signals; signalling a full one has no effect and does not wait", () => {
  using event = EventFd.create(3);
  assertEquals(takeEvent(event.number), 3);
  assertEquals(takeEvent(event.number), 0);
  for (let i = 0; i < 5; i++) signalEvent(event.number);
  assertEquals(takeEvent(event.number), 5);
  const most = new Uint8Array(BigUint64Array.of(2n ** 64n - 2n).buffer);
  assertEquals(writeFd(event.number, most, 0, 8), 8);
  signalEvent(event.number);
  assertEquals(takeEvent(event.number), 2 ** 31 - 1); // cut to what fits
});

Deno.test("a blocking eventfd that was rung is taken without waiting", () => {
  using event = EventFd.createBlocking();
  signalEvent(event.number);
  signalEvent(event.number);
  assertEquals(takeEvent(event.number), 2);
});

Deno.test("signalling something that is not an open eventfd fails with its number", () => {
  using reader = Fd.open("/dev/null", O_RDONLY);
  const error = assertThrows(() => signalEvent(reader.number), OsError);
  assertEquals(error.code, "EBADF");
  assertThrows(() => signalEvent(-1), OsError, "signal eventfd -1");
  assertThrows(() => takeEvent(-1), OsError, "read eventfd -1");
});

Deno.test("a timer expires once, at once when its moment is past, and never when disarmed", () => {
  using timer = TimerFd.create();
  const start = monotonicNs();
  timer.set(start - 1e9);
  assertEquals(takeEvent(timer.number), 1);
  assertEquals(takeEvent(timer.number), 0);
  timer.set(start + 3600e9);
  timer.set(0);
  assertEquals(takeEvent(timer.number), 0);
  timer.set(monotonicNs() + 1e6);
  let taken = 0;
  while (taken === 0 && monotonicNs() < start + 10e9) taken = takeEvent(timer.number);
  assertEquals(taken, 1);
  assert(monotonicNs() - start >= 1e6);
});

Deno.test("a pipe: bytes, its end, and no wait when it is non-blocking", async () => {
  await withoutLeaks(() => {
    const { reader, writer } = createPipe();
    using _reader = reader;
    setNonblocking(reader);
    const bytes = new Uint8Array(8);
    assertEquals(readFd(reader.number, bytes, 0, 8), WOULD_BLOCK);
    assertEquals(writeFd(writer.number, Uint8Array.of(1, 2, 3), 1, 2), 2);
    assertEquals(readFd(reader.number, bytes, 4, 4), 2);
    assertEquals([...bytes], [0, 0, 0, 0, 2, 3, 0, 0]);
    writer.close();
    assertEquals(readFd(reader.number, bytes, 0, 8), 0);
  });
});

Deno.test("a read or write past a buffer's end is refused before the kernel sees it", () => {
  using fd = Fd.open("/dev/zero", O_RDONLY);
  const bytes = new Uint8Array(8);
  for (const [offset, length] of [[0, 9], [8, 1], [-1, 2], [4, -1], [9, 0]] as const) {
    assertThrows(() => readFd(fd.number, bytes, offset, length), RangeError, "buffer of 8");
    assertThrows(() => writeFd(fd.number, bytes, offset, length), RangeError, "buffer of 8");
  }
  assertEquals(readFd(fd.number, bytes, 8, 0), 0);
});

Deno.test("ioctl() returns the call's value, or −errno", () => {
  const { reader, writer } = createPipe();
  using _reader = reader;
  using _writer = writer;
  writeFd(writer.number, new Uint8Array(5), 0, 5);
  const waiting = new Uint8Array(4);
  assertEquals(ioctl(reader.number, 0x541b, waiting), 0); // FIONREAD
  assertEquals([...waiting], [5, 0, 0, 0]);
  assertEquals(ioctl(reader.number, 0x6b02, null), -25); // ENOTTY
});

Deno.test("an OsError names what was done, the errno, and what it means", () => {
  const error = new OsError("open the door", 13);
  assertEquals(error.message, "Cannot open the door: permission denied (EACCES)");
  assertEquals(new OsError("do it", 4711).message, "Cannot do it: unknown error (E4711)");
});

Deno.test("a system's file is read to its end, whatever size it says", () => {
  const status = readSystemFile("/proc/self/status");
  assertEquals(/^Pid:\t(\d+)$/m.exec(status)?.[1], String(Deno.pid));
  const maps = readSystemFile("/proc/self/maps");
  assert(
    maps.length > 4096 && maps.endsWith("\n"),
    "expected more than one piece, and whole lines",
  );
  assertThrows(() => readSystemFile("/proc/none"), Error, "Cannot open /proc/none");
});

Deno.test("a descriptor's link tells what it is", () => {
  using event = EventFd.create();
  assertEquals(readSystemLink(`/proc/self/fd/${event.number}`), "anon_inode:[eventfd]");
  assertThrows(() => readSystemLink("/proc/self/status"), Error, "EINVAL");
});
