// SPDX-License-Identifier: Apache-2.0
// Lines are written for readers of every kind, and none of them is waited for longer than is owed to them.
import { assertEquals, assertRejects } from "@std/assert";
import { Lines, type Output } from "../../cli/lines.ts";

/** Takes what `take` lets it: a number of bytes of each write, or an error. */
class Reader implements Output {
  text = "";
  constructor(public take: (bytes: Uint8Array) => number | Promise<number>) {}
  async write(bytes: Uint8Array): Promise<number> {
    const taken = await this.take(bytes);
    this.text += new TextDecoder().decode(bytes.subarray(0, taken));
    return taken;
  }
  isTerminal(): boolean {
    return false;
  }
}

function all(bytes: Uint8Array): number {
  return bytes.length;
}

function full(): never {
  throw new Error("No space left on device (os error 28)");
}

/** A reader that stalls from its first line on, until it goes again. */
function stalled(): { reader: Reader; go: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const reader = new Reader(async (bytes) => {
    await promise;
    return bytes.length;
  });
  return { reader, go: resolve };
}

Deno.test("Lines writes in order, in as many parts as the reader takes", async () => {
  const reader = new Reader(() => 1);
  const lines = new Lines(reader);
  lines.put("one\n");
  lines.owe("two\n");
  lines.put("three\n");
  await lines.flush();
  assertEquals(reader.text, "one\ntwo\nthree\n");
});

Deno.test("Lines keeps a thousand for a reader that stalls, then says how many were dropped", async () => {
  const { reader, go } = stalled();
  const lines = new Lines(reader);
  for (let i = 0; i < 1100; i++) lines.put(`${i}\n`);
  lines.put("a\nb\n");
  go();
  await lines.flush();
  const written = reader.text.split("\n");
  // One is at the reader, a thousand wait.
  assertEquals(written.slice(0, 1001), Array.from({ length: 1001 }, (_, i) => `${i}`));
  assertEquals(written.slice(1001), ["... 101 lines dropped", ""]);
});

Deno.test("Lines drops lines for a reader that stalls, except a result", async () => {
  const { reader, go } = stalled();
  const lines = new Lines(reader);
  lines.put("idle talk\n");
  await lines.flush();
  assertEquals(reader.text, "");
  for (let i = 0; i < 2000; i++) lines.put("\n");
  lines.owe("the result\n");
  const flushed = lines.flush();
  go();
  await flushed;
  assertEquals(reader.text.split("\n").slice(-3), ["... 1000 lines dropped", "the result", ""]);
});

Deno.test("Lines writes again when a disk that was full has room", async () => {
  const reader = new Reader(full);
  const lines = new Lines(reader);
  lines.tell = (lost) => `${lost} lost\n`;
  lines.put("one\n");
  lines.put("two\n");
  await lines.flush();
  // What comes next has room for its beginning only.
  const parts = [4];
  reader.take = () => parts.pop() ?? full();
  lines.put("three\n");
  await lines.flush();
  reader.take = all;
  lines.put("four\n");
  await lines.flush();
  assertEquals(reader.text, "2 lo\n3 lost\nfour\n");
});

Deno.test("Lines waits for room in a pipe that does not block", async () => {
  let tries = 0;
  const reader = new Reader((bytes) => {
    if (tries++ < 3) throw new Deno.errors.WouldBlock("Resource temporarily unavailable");
    return bytes.length;
  });
  const lines = new Lines(reader);
  lines.owe("here\n");
  await lines.flush();
  assertEquals([reader.text, tries], ["here\n", 4]);
});

Deno.test("Lines fails when a result cannot be written, but not when the pipe is closed", async () => {
  const lines = new Lines(new Reader(full));
  lines.put("idle talk\n");
  await lines.flush();
  lines.owe("the result\n");
  await assertRejects(() => lines.flush(), Error, "No space left");
  const gone = () => {
    throw new Deno.errors.BrokenPipe("gone");
  };
  const unread = new Lines(new Reader(gone));
  unread.owe("the result\n");
  await unread.flush();
});
