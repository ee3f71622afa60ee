// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { EventFd, signalEvent, writeFd } from "../../ffi/mod.ts";
import { encodeMessage, FRONT_END_MESSAGES } from "../../lib/vhost_user/messages.ts";
import { Driver, openDescriptors, rung, VERSION_1 } from "./harness.ts";
import { Bench, mappings, NACK, table } from "./back_end_fixture.ts";

Deno.test("without REPLY_ACK a broken rule ends the session without a failure being sent", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  raw.tell("SET_VRING_NUM", { index: 9, num: 16 }, [], 0x9);
  assertEquals(await raw.reply(), "lost");
  await bench.expectService();
});

Deno.test("a message whose protocol feature was not negotiated is refused", async () => {
  for (const name of ["GET_QUEUE_NUM", "RESET_DEVICE"] as const) {
    await using bench = new Bench();
    const raw = bench.raw();
    raw.tell(name, undefined, [], 0x9);
    assertEquals(await raw.reply(), "lost");
    assert(bench.errors[0]!.includes("was not negotiated"), bench.errors[0]);
  }
});

Deno.test("enable needs bit 30 to be accepted", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  await raw.ask("SET_FEATURES", VERSION_1);
  assertEquals(await raw.ask("SET_VRING_ENABLE", { index: 0, num: 1 }), NACK);
  assertEquals(await raw.reply(), "lost");
});

Deno.test("a front-end that ends at every byte of a message leaves nothing behind", async () => {
  await using bench = new Bench();
  using driver = new Driver(1);
  const { request, body } = FRONT_END_MESSAGES.SET_MEM_TABLE;
  const message = encodeMessage(request, 0x9, body.encode(table(driver)));
  await bench.expectService();
  const before = openDescriptors();
  for (let cut = 1; cut < message.length; cut++) {
    const raw = bench.raw();
    raw.send(message.slice(0, cut), [driver.fd.number]);
    raw.socket.close();
    while (bench.errors.length < cut) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await bench.expectService();
  assertEquals(openDescriptors(), before);
  assertEquals(bench.errors.length, message.length - 1);
  assert(bench.errors.every((text) => text.includes("of a message")), bench.errors[0]);
});

Deno.test("a front-end that never reads its replies is disconnected", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  const flood = encodeMessage(1, 0x1, new Uint8Array());
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    try {
      for (let i = 0; i < 50; i++) raw.send(flood);
    } catch {
      clearInterval(timer);
      resolve();
    }
  }, 1);
  await promise;
  assert(bench.errors[0]!.includes("does not read"), bench.errors[0]);
  raw.socket.close();
  await bench.expectService();
});

Deno.test("a malformed ring is not served: it is reported, its error eventfd signalled, the session continues", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(2);
  using error = EventFd.create();
  await raw.ask("SET_VRING_ERR", { index: 0, noFd: false }, [error.number]);
  await raw.ring(driver, 0);
  await raw.ring(driver, 1, ["SET_MEM_TABLE"]);
  const { avail } = driver.rings()[0]!;
  const view = new DataView(driver.bytes.buffer);
  view.setUint16(avail - driver.memory[0]!.user + 2, 1000, true); // the available idx, far ahead
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await rung(error, bench.reactor), 1);
  assert(bench.errors[0]!.includes("the available idx is 1000"), bench.errors[0]);
  signalEvent(driver.kicks[0]!.number);
  driver.offer(1, "the other");
  signalEvent(driver.kicks[1]!.number);
  assertEquals(await driver.answer(1, bench.reactor), "the other");
  assertEquals(await raw.ask("GET_VRING_BASE", { index: 0, num: 0 }), "0000000000000000");
  assertEquals(bench.errors.length, 1);
});

Deno.test("a device that throws does not take the session's memory or the loop with it", async () => {
  const before = openDescriptors();
  {
    await using bench = new Bench();
    const raw = await bench.agreed();
    using driver = new Driver(1);
    await raw.ring(driver, 0);
    const broken = (): never => {
      throw new Error("broken device");
    };
    Object.assign(bench.device, { stopRing: broken, disconnected: broken });
    raw.socket.close();
    while (bench.errors.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals(bench.errors, ["broken device", "broken device"]);
    assertEquals(mappings(), 1);
  }
  assertEquals(openDescriptors(), before);
});

Deno.test("signalling a full, blocking call eventfd does not wait", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0);
  using full = EventFd.createBlocking();
  const most = new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer);
  assertEquals(writeFd(full.number, most, 0, 8), 8);
  await raw.ask("SET_VRING_CALL", { index: 0, noFd: false }, [full.number]);
  driver.offer(0, "x");
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await raw.ask("GET_QUEUE_NUM", undefined), "0400000000000000");
  // Its flags are those that it came with: whoever waits in a read of it goes on waiting.
  const flags =
    /^flags:\s*(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${full.number}`))![1];
  assertEquals(parseInt(flags!, 8) & 0o4000, 0);
});
