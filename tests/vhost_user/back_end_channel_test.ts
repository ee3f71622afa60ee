// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { EPOLLIN, EventFd, OsError, Reactor, UnixSocket } from "../../ffi/mod.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { MessageReader, type RawMessage } from "../../lib/vhost_user/framing.ts";
import { encodeMessage, REPLY, VERSION } from "../../lib/vhost_user/messages.ts";
import { openDescriptors } from "./harness.ts";
import type { Behaviour, Fault } from "./hostile_back_end.ts";
import { Bench } from "./front_end_fixture.ts";

// ---- the back-end channel ----

/** The back-end's end of the channel. */
class Channel {
  readonly #reader: MessageReader;

  constructor(readonly socket: UnixSocket, readonly reactor: Reactor) {
    this.#reader = new MessageReader(socket, "replies", "the front-end");
  }

  send(request: number, flags: number, body = new Uint8Array(), fds: number[] = []): void {
    const bytes = encodeMessage(request, flags, body);
    assertEquals(this.socket.send(bytes, 0, bytes.length, fds), bytes.length);
  }

  /** What is there to be read. */
  replies(): RawMessage[] {
    const found: RawMessage[] = [];
    for (let reply = this.#reader.next(); reply !== null; reply = this.#reader.next()) {
      found.push(reply);
    }
    return found;
  }

  readable(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const watch = this.reactor.watch(this.socket.number, EPOLLIN, () => {
      watch.close();
      resolve();
    });
    return promise;
  }

  async reply(): Promise<{ request: number; value: bigint }> {
    await this.readable();
    const [reply, ...more] = this.replies();
    assertEquals(more, []);
    const value = new DataView(reply!.body.buffer).getBigUint64(0, true);
    return { request: reply!.request, value };
  }
}

async function withChannel(
  behaviour: Behaviour,
  test: (bench: Bench, channel: Channel) => Promise<void>,
): Promise<void> {
  await using bench = await Bench.create(behaviour);
  await bench.front.initialise();
  await test(bench, new Channel(bench.back.channel!, bench.reactor));
}

Deno.test("CONFIG_CHANGE_MSG is passed on, and acknowledged if asked", async () => {
  await withChannel({}, async (bench, channel) => {
    channel.send(2, 0x1);
    await bench.configChanged.promise;
    bench.configChanged = Promise.withResolvers();
    channel.send(2, 0x9);
    assertEquals(await channel.reply(), { request: 2, value: 0n });
    await bench.configChanged.promise;
  });
});

Deno.test("requests on the back-end's channel are served while a reply is waited for", async () => {
  let release = (): void => {};
  const held: Fault = (back, request, body) => {
    release = () => back.send(encodeMessage(request, VERSION | REPLY, body));
  };
  await withChannel({}, async (bench, channel) => {
    bench.back.behaviour = { faults: { GET_CONFIG: held } };
    const config = bench.front.readConfig();
    channel.send(2, 0x9);
    assertEquals(await channel.reply(), { request: 2, value: 0n });
    release();
    assertEquals((await config).length, 12);
  });
});

Deno.test("other requests on the channel are answered with a failure, and descriptors closed", async () => {
  await withChannel({}, async (bench, channel) => {
    using event = EventFd.create();
    const before = openDescriptors();
    for (const request of [1, 3, 4, 9, 11, 1006, 0xffffffff]) {
      channel.send(request, 0x9, new Uint8Array(40));
      assertEquals(await channel.reply(), { request, value: 1n });
    }
    channel.send(9, 0x9, new Uint8Array(40), [event.number]);
    assertEquals(await channel.reply(), { request: 9, value: 1n });
    channel.send(2, 0x9, new Uint8Array(), [event.number]);
    assertEquals(await channel.reply(), { request: 2, value: 1n });
    assertEquals(openDescriptors(), before);
    assertEquals(bench.losses, []);
  });
});

Deno.test("a bad message on the channel closes the channel, not the device", async (t) => {
  const cases: [name: string, act: (channel: Channel) => void][] = [
    ["a reply", (channel) => channel.send(2, 0x5)],
    ["version 2", (channel) => channel.send(2, 0x2)],
    ["a payload where none belongs", (channel) => channel.send(2, 0x1, new Uint8Array(8))],
    ["4097 bytes", (channel) => channel.send(2, 0x1, new Uint8Array(4097))],
    ["an end inside a message", (channel) => {
      channel.socket.send(encodeMessage(2, 0x1, new Uint8Array()), 0, 7);
      channel.socket.close();
    }],
  ];
  for (const [name, act] of cases) {
    await t.step(name, async () => {
      await withChannel({}, async (bench, channel) => {
        act(channel);
        if (!channel.socket.closed) {
          await channel.readable();
          assertThrows(() => channel.replies(), VhostUserError);
        }
        assertEquals((await bench.front.readConfig()).length, 12);
        assertEquals(bench.losses, []);
      });
    });
  }
});

Deno.test("a flood on the channel is served in batches, completely", async () => {
  await withChannel({}, async (bench, channel) => {
    for (let i = 0; i < 200; i++) channel.send(2, 0x9);
    await channel.readable();
    let served = channel.replies().length;
    assert(served < 200, `${served} at once`);
    assertEquals((await bench.front.readConfig()).length, 12);
    while (served < 200) {
      await channel.readable();
      served += channel.replies().length;
    }
    assertEquals(served, 200);
  });
});

Deno.test("a channel that is held back for its flood can be closed", async () => {
  await withChannel({}, async (bench, channel) => {
    for (let i = 0; i < 200; i++) channel.send(2, 0x9);
    await channel.readable();
    bench.front.close();
    assertEquals(bench.losses, []);
  });
});

Deno.test("a channel whose replies are not read is closed", async () => {
  await withChannel({}, async (bench, channel) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setInterval(() => {
      try {
        for (let i = 0; i < 50; i++) {
          channel.socket.send(encodeMessage(2, 0x9, new Uint8Array()), 0, 12);
        }
      } catch (error) {
        assertInstanceOf(error, OsError);
        clearInterval(timer);
        resolve();
      }
    }, 5);
    await promise;
    assertEquals((await bench.front.readConfig()).length, 12);
  });
});
