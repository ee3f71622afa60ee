// SPDX-License-Identifier: Apache-2.0
// Back-ends whose messages are right and whose rings are not: they lie, stand still, or do not stop when they are told to.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { signalEvent } from "../../../ffi/mod.ts";
import { ACTIVATION_GUEST } from "../../../lib/bridge/activation_memory.ts";
import { rng } from "../../../lib/classes/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import type { BackEndRing } from "../../../lib/vhost_user/back_end.ts";
import type { FrontEndMessage } from "../../../lib/vhost_user/messages.ts";
import { Chain, splitRingLayout } from "../../../lib/virtio/split_ring.ts";
import { FAULTS, type HostileBackEnd } from "../../vhost_user/hostile_back_end.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { fill, Filler, FILLING, hostileRng, type Serve } from "./back_ends.ts";
import { DIAGONAL, MODES, WholeChain } from "./chain.ts";

/** The used ring of queue 0 in the memory that viola gives a back-end: flags, idx, elements of id and length. */
class UsedRing {
  readonly #view: DataView;
  readonly #at: number;

  constructor(live: BackEndRing) {
    const { used } = splitRingLayout(ACTIVATION_GUEST, live.ring.size);
    const { view, guest } = live.memory.region(used, 4);
    this.#view = view;
    this.#at = used - guest;
  }

  get idx(): number {
    return this.#view.getUint16(this.#at + 2, true);
  }

  set idx(idx: number) {
    this.#view.setUint16(this.#at + 2, idx, true);
  }

  set flags(flags: number) {
    this.#view.setUint16(this.#at, flags, true);
  }

  /** Writes elements and moves idx behind them. */
  give(...elements: [id: number, length: number][]): void {
    elements.forEach(([id, length], i) => {
      const at = this.#at + 4 + 8 * ((this.idx + i) % 64);
      this.#view.setUint32(at, id, true);
      this.#view.setUint32(at + 4, length, true);
    });
    this.idx += elements.length;
  }
}

/** Rings the call eventfd, whether that is wanted or not. */
function callOften(live: BackEndRing, times: number): void {
  const { callNumber } = live as unknown as { callNumber: number };
  for (let i = 0; i < times; i++) signalEvent(callNumber);
}

/** Tells something of each chain that is offered. */
function lie(tell: (used: UsedRing, head: number) => void): Serve {
  return (live) => {
    const chain = new Chain();
    do {
      while (live.ring.pop(chain)) tell(new UsedRing(live), chain.head);
    } while (live.ring.enableNotifications());
    callOften(live, 1);
  };
}

/** Lies in rings, by what is said of them. */
const LIES: Record<string, { serve: Serve; says: RegExp }> = {
  "the used idx jumps by 100": { serve: lie((used) => used.idx += 100), says: /used idx is 10\d/ },
  "the used idx jumps by half its range": {
    serve: lie((used) => used.idx += 0x8000),
    says: /used idx is 32\d{3}/,
  },
  "the used idx goes back": { serve: lie((used) => used.idx -= 1), says: /used idx is \d+/ },
  "an id beyond the ring": { serve: lie((used) => used.give([64, 64])), says: /has id 64/ },
  "an id of 2^32 - 1": {
    serve: lie((used) => used.give([0xffffffff, 64])),
    says: /has id 4294967295/,
  },
  "an id that is not in flight": { serve: lie((used) => used.give([63, 64])), says: /has id 63/ },
  "an id twice": {
    serve: lie((used, head) => used.give([head, 64], [head, 64])),
    says: /used idx is \d+|has id \d+/,
  },
};

/** Conduct that is no reason to end. */
const ODDITIES: Record<string, Serve> = {
  "calls in floods": (live) => {
    callOften(live, 20_000);
    fill(live);
    callOften(live, 20_000);
  },
  "rewrites descriptors and available ring while it has the only chain": (live) => {
    const chain = new Chain();
    while (live.ring.pop(chain)) {
      chain.scatter(0, new Uint8Array(chain.writableBytes).fill(FILLING));
      const { desc, avail } = splitRingLayout(ACTIVATION_GUEST, live.ring.size);
      const { u8, guest } = live.memory.region(desc, 16 * 64);
      u8.fill(0xff, desc - guest, desc - guest + 16 * 64);
      u8.fill(0xff, avail - guest + 4, avail - guest + 4 + 2 * 64);
      live.ring.complete(chain.head, chain.writableBytes);
    }
    fill(live);
  },
  "sets flags that no ring has, but for the one that stops kicks": (live) => {
    new UsedRing(live).flags = 0xfffe;
    fill(live);
  },
};

/** An entropy driver at work, with a back-end that will do as it is told. */
async function working(
  chain: WholeChain,
  mode: typeof MODES[number],
): Promise<{ back: Filler; guest: Guest<typeof rng> }> {
  const back = new Filler(chain.reactor, chain.file("socket"));
  chain.use(back);
  const node = chain.node("node");
  chain.add({ class: "rng", ...mode });
  const guest = await chain.entropyGuest(node);
  await guest.probe();
  await read(guest);
  return { back, guest };
}

async function read(guest: Guest<typeof rng>): Promise<void> {
  const bytes = await guest.call("readEntropy", 64);
  assertEquals([bytes.length, bytes.every((byte) => byte === FILLING)], [64, true]);
}

/** Whether a back-end was started, and is not lost: not the one before it, which the bridge may have found once more. */
function isAtWork(chain: WholeChain, { log }: HostileBackEnd): boolean {
  const turns = chain.events.map(({ kind }) => kind)
    .filter((kind) => kind === "lost" || kind === "running" || kind === "resumed");
  return log.some((line) => line.startsWith("SET_VRING_ENABLE")) && turns.at(-1) !== "lost";
}

for (const mode of MODES.filter(({ memory }) => memory === "isolated")) {
  Deno.test(`a back-end with a malformed ring is replaced, mmio ${mode.mmioVersion}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const { back, guest } = await working(chain, mode);
      for (const [name, { serve, says }] of Object.entries(LIES)) {
        const since = chain.events.length;
        back.serve = serve;
        const reading = read(guest);
        const { text } = await chain.event("error", since);
        back.serve = fill;
        assertMatch(text, says, name);
        assertMatch(text, /queue 0 of the back-end of rng0/, name);
        assertEquals((await chain.event("lost", since)).text, text);
        await reading;
        await guest.measureAccess(1);
      }
      assertEquals(chain.counters().losses, Object.keys(LIES).length);
    });
  });

  Deno.test(`a back-end with unusual but valid behaviour is served, mmio ${mode.mmioVersion}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const { back, guest } = await working(chain, mode);
      for (const serve of Object.values(ODDITIES)) {
        back.serve = serve;
        for (let i = 0; i < 3; i++) await read(guest);
      }
      // The length that it claims is cut to what the driver has room for, and counted.
      back.serve = (live) => {
        const chain = new Chain();
        do while (live.ring.pop(chain)) live.ring.complete(chain.head, 0xffffffff); while (
          live.ring.enableNotifications()
        );
        live.call();
      };
      assertEquals((await guest.call("readEntropy", 64)).length, 64);
      // The driver asks ahead, so that what it reads now may be what was right still.
      await until(() => chain.counters().queues[0]!.errors > 0, "the lie to be counted");
      assertEquals((await guest.call("readEntropy", 64)).length, 64);
      const kinds = chain.events.map(({ kind }) => kind);
      assertEquals(kinds, ["connected", "started", "running"], chain.report());
    });
  });
}

for (const mode of DIAGONAL) {
  const { memory } = mode;
  Deno.test(`a back-end without progress is replaced, ${memory}`, async () => {
    const conducts: Record<string, Serve> = {
      "takes nothing": () => {},
      "takes and gives nothing back": (live) => void live.ring.pop(new Chain()),
    };
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create({ patience: { requestMs: 200 } });
      const { back, guest } = await working(chain, mode);
      for (const serve of Object.values(conducts)) {
        const since = chain.events.length;
        back.serve = serve;
        const reading = read(guest);
        const { text } = await chain.event("lost", since);
        back.serve = fill;
        assertMatch(
          text,
          /queue 0 \(request\) has requests in flight, none was given back for 0.2 s/,
        );
        await reading;
      }
    });
  });

  /** What is asked of a back-end when the driver resets. */
  const endings: readonly FrontEndMessage[] = ["GET_VRING_BASE", "RESET_DEVICE"];
  Deno.test(`a back-end that does not stop its rings is disconnected, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create({ patience: { replyMs: 200 } });
      const { back, guest } = await working(chain, mode);
      back[Symbol.dispose]();
      const faults = [FAULTS.lost["closes"]!, FAULTS.late["is silent"]!];
      faults.push(FAULTS.protocol["replies to another request"]!);
      for (const at of endings) {
        for (const fault of faults) {
          const since = chain.events.length;
          {
            using hostile = hostileRng(chain.reactor, chain.file("socket"), {
              faults: { [at]: fault },
            });
            await until(() => isAtWork(chain, hostile), "the back-end to be at work");
            await guest.reset(); // answered, whatever becomes of the back-end
            await chain.said(at, since);
          }
          await guest.probe();
        }
      }
      chain.use(new Filler(chain.reactor, chain.file("socket")));
      await read(guest);
    });
  });

  Deno.test(`the end does not wait for a back-end that says nothing, ${memory}`, async () => {
    await withoutLeaks(async () => {
      // Nothing that is asked would ever be late.
      await using chain = await WholeChain.create({ patience: { replyMs: 10 ** 8 } });
      const { back } = await working(chain, mode);
      back[Symbol.dispose]();
      const silent = hostileRng(chain.reactor, chain.file("socket"), {
        faults: { SET_VRING_NUM: FAULTS.late["is silent"]! },
      });
      chain.use(silent);
      await until(() => silent.log.some((line) => line.startsWith("SET_VRING_NUM")), "the silence");
      await chain.bridge.close();
    });
  });
}

Deno.test("a dangling link in the socket's place is waited for like a missing socket", async () => {
  await withoutLeaks(async () => {
    await using chain = await WholeChain.create();
    const { back, guest } = await working(chain, MODES[0]!);
    back[Symbol.dispose]();
    Deno.symlinkSync(chain.file("socket"), chain.file("socket"));
    await chain.said("ELOOP");
    Deno.removeSync(chain.file("socket"));
    chain.use(new Filler(chain.reactor, chain.file("socket")));
    await read(guest);
    assert(chain.counters().losses >= 1);
  });
});
