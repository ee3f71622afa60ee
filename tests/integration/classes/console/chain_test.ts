// SPDX-License-Identifier: Apache-2.0
// A console from a program of the host to the driver and back, through viola.
import { assert, assertEquals } from "@std/assert";
import { console } from "../../../../lib/classes/mod.ts";
import { startDevice } from "../../../../lib/device/mod.ts";
import { type Guest, startGuest } from "../../../../lib/guest/mod.ts";
import { DIAGONAL, WholeChain } from "../../chain/chain.ts";
import { DeviceProcess } from "../../chain/device_process.ts";
import { withoutLeaks } from "../../../support/leaks.ts";
import { until } from "../../../support/process.ts";
import { seeded } from "../../../support/random.ts";

type Mode = Pick<typeof DIAGONAL[number], "memory" | "mmioVersion">;

const MIB = 2 ** 20;

/** A driver at the console that listens at "socket". */
async function drive(chain: WholeChain, mode: Mode): Promise<Guest<typeof console>> {
  const node = chain.node("node");
  chain.add({ class: "console", ...mode });
  const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
  const guest = chain.useGuest(await startGuest(console, node.wires, patience));
  await guest.probe(60_000);
  return guest;
}

async function readExactly(client: Deno.Conn, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const length = await client.read(bytes.subarray(at));
    if (length === null) throw new Error(`the end after ${at} bytes`);
    at += length;
  }
  return bytes;
}

async function writeAll(client: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await client.write(bytes.subarray(at));
}

for (const mode of DIAGONAL) {
  Deno.test(`every port is told, opened and used, by viola's driver, ${mode.memory} memory`, () =>
    withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const path = chain.file("gps");
      const device = chain.use(
        await startDevice(console, {
          socket: chain.file("socket"),
          console: `pty:${chain.file("tty")}`,
          ports: [`gps=unix:${path}`],
        }),
      );
      const guest = await drive(chain, mode);
      await guest.call("awaitPort", 0, { isConsole: true, size: { cols: 80, rows: 24 } });
      await guest.call("awaitPort", 1, { name: "gps", isHostOpen: false });
      await guest.call("open", 1);
      {
        using client = await Deno.connect({ transport: "unix", path });
        await guest.call("awaitPort", 1, { isHostOpen: true });
        await client.write(Uint8Array.of(1, 2, 255));
        assertEquals([...await guest.call("read", 1, 3)], [1, 2, 255]);
        await guest.call("write", 1, Uint8Array.of(7, 0));
        assertEquals([...await readExactly(client, 2)], [7, 0]);
      }
      await guest.call("awaitPort", 1, { isHostOpen: false });
      await device.call("resize", 132, 43);
      await guest.call("awaitPort", 0, { size: { cols: 132, rows: 43 } });
      await guest.call("write", 0, Uint8Array.of(65)); // nobody reads a console, and it does not wait
      await guest.unbind();
      await guest.probe(60_000);
      await guest.call("awaitPort", 1, { name: "gps" });
    }));

  Deno.test(`10 MiB each way at once, and none of it wrong, ${mode.memory} memory`, async () => {
    await using chain = await WholeChain.create();
    const path = chain.file("bulk");
    chain.use(
      await startDevice(console, { socket: chain.file("socket"), ports: [`bulk=unix:${path}`] }),
    );
    const guest = await drive(chain, mode);
    await guest.call("awaitPort", 1, { name: "bulk" });
    await guest.call("open", 1);
    using client = await Deno.connect({ transport: "unix", path });
    const draws = seeded();
    const sent = draws.bytes(MIB);
    const typed = draws.bytes(MIB);
    const typing = (async () => {
      for (let i = 0; i < 10; i++) await writeAll(client, typed);
    })();
    const shown = readExactly(client, 10 * MIB);
    for (let i = 0; i < 10; i++) {
      assertEquals(await guest.call("write", 1, sent), MIB);
      const read = await guest.call("read", 1, MIB);
      assert(read.every((byte, at) => byte === typed[at]), "what the program wrote");
    }
    await typing;
    const all = await shown;
    assert(all.every((byte, at) => byte === sent[at % MIB]), "what the driver wrote");
    await guest.unbind();
  });
}

Deno.test("a console that is killed has its ports told and used again", async () => {
  await using chain = await WholeChain.create();
  const path = chain.file("gps");
  const device = chain.use(
    DeviceProcess.start([
      ...["console", "--socket", chain.file("socket")],
      ...["--port", `gps=unix:${path}`, "--console", `pty:${chain.file("tty")}`],
    ]),
  );
  const guest = await drive(chain, { memory: "isolated", mmioVersion: 2 });
  await guest.call("awaitPort", 1, { name: "gps" });
  await guest.call("open", 1);
  const connect = async (): Promise<Deno.Conn> => {
    const socket: { client: Deno.Conn | null } = { client: null };
    await until(async () => {
      socket.client = await Deno.connect({ transport: "unix", path }).catch(() => null);
      return socket.client !== null;
    }, "the port's socket is there");
    return socket.client!;
  };
  for (let round = 0; round < 2; round++) {
    using client = await connect();
    await guest.call("awaitPort", 1, { isHostOpen: true });
    await client.write(Uint8Array.of(round));
    assertEquals([...await guest.call("read", 1, 1)], [round]);
    await guest.call("write", 1, Uint8Array.of(100 + round));
    assertEquals([...await readExactly(client, 1)], [100 + round]);
    if (round > 0) break;
    await device.killAndRestart();
    await guest.call("awaitPort", 1, { isHostOpen: false });
  }
  assert(Deno.readLinkSync(chain.file("tty")).startsWith("/dev/pts/"));
});
