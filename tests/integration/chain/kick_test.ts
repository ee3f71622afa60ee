// SPDX-License-Identifier: Apache-2.0
// Back-ends, and a node, that keep full what they are to be rung by, so that a plain write would wait: nobody does.
import { assertEquals } from "@std/assert";
import { Fd, setNonblocking, takeEvent, writeFd } from "../../../ffi/mod.ts";
import { rng } from "../../../lib/classes/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import { SoftGuestPort, type SoftNode } from "../../../lib/loopback/mod.ts";
import type { FrontEndMessage } from "../../../lib/vhost_user/messages.ts";
import type { HostileBackEnd } from "../../vhost_user/hostile_back_end.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { Filler, FILLING, hostileRng } from "./back_ends.ts";
import { DIAGONAL, WholeChain } from "./chain.ts";

const BRIM = new Uint8Array(new BigUint64Array([2n ** 64n - 2n]).buffer);

/** Fills an eventfd, after which a plain write to it would wait until somebody reads. */
function stuff(fd: Fd): void {
  setNonblocking(fd);
  do takeEvent(fd.number); while (writeFd(fd.number, BRIM, 0, 8) !== 8); // it may have been rung in between
  setNonblocking(fd, false);
}

async function read(guest: Guest<typeof rng>): Promise<void> {
  const bytes = await guest.call("readEntropy", 64);
  assertEquals([bytes.length, bytes.every((byte) => byte === FILLING)], [64, true]);
}

/** A back-end that stuffs its kicks when this message comes. */
class Stuffing implements Disposable {
  times = 0;
  readonly #kicks: Fd[] = [];
  readonly #back: HostileBackEnd;

  constructor(chain: WholeChain, at: FrontEndMessage, hangsUp: boolean) {
    this.#back = hostileRng(chain.reactor, chain.file("hostile"), {
      onMessage: (name, fds) => {
        if (name === "SET_VRING_KICK") this.#kicks.push(...fds.map((fd) => fd.duplicate()));
        if (name !== at) return;
        for (const kick of this.#kicks) stuff(kick);
        this.times++;
        if (hangsUp) this.#back.hangUp();
      },
    });
  }

  [Symbol.dispose](): void {
    this.#back[Symbol.dispose]();
    for (const kick of this.#kicks) kick.close();
  }
}

for (const mode of DIAGONAL) {
  for (const at of ["SET_VRING_KICK", "SET_VRING_ENABLE"] as const) {
    for (const hangsUp of [false, true]) {
      const how = `at ${at}, ${hangsUp ? "and hangs up" : "and stays"}, ${mode.memory}`;
      Deno.test(`a back-end that keeps its kick full blocks nothing: ${how}`, async () => {
        await withoutLeaks(async () => {
          await using chain = await WholeChain.create({ patience: { requestMs: 1000 } });
          chain.use(new Filler(chain.reactor, chain.file("honest")));
          using hostile = new Stuffing(chain, at, hangsUp);
          const names = ["hostile", "honest"];
          const guests = [];
          for (const name of names) {
            const node = chain.node(`${name}.node`);
            const [socket, loopback] = [chain.file(name), chain.loopback(`${name}.node`)];
            chain.add({ class: "rng", ...mode, name, socket, loopback });
            guests.push(await chain.entropyGuest(node, { name, accessTimeoutMs: 1000 }));
          }
          const [victim, honest] = guests as [Guest<typeof rng>, Guest<typeof rng>];
          await honest.probe();
          const asking = victim.probe().then(() => victim.call("readEntropy", 64)).catch(() => {});
          await until(() => hostile.times > 0, "the kick to be full");
          for (let i = 0; i < 20; i++) await read(honest);
          await chain.bridge.close();
          await victim.close();
          await asking;
        });
      });
    }
  }
}

Deno.test("a node that keeps its eventfds full blocks nothing", async () => {
  await withoutLeaks(async () => {
    await using chain = await WholeChain.create();
    const guests = [];
    for (const name of ["hostile", "honest"]) {
      chain.use(new Filler(chain.reactor, chain.file(name)));
      const node = chain.node(`${name}.node`);
      if (name === "hostile") {
        for (const number of [node.wires.answer, node.wires.interrupt]) {
          const bell = new Fd(number);
          stuff(bell);
          bell.release();
        }
      }
      const [socket, loopback] = [chain.file(name), chain.loopback(`${name}.node`)];
      chain.add({ class: "rng", mmioVersion: 2, name, socket, loopback });
      await chain.event("started");
      guests.push(node);
    }
    const [victim, honest] = guests as [SoftNode, SoftNode];
    using driver = new SoftGuestPort(victim.wires, 2000);
    const guest = await chain.entropyGuest(honest);
    await guest.probe();
    for (let i = 0; i < 5; i++) {
      assertEquals(driver.read(0x000, 4), 0x74726976);
      await read(guest);
    }
  });
});
