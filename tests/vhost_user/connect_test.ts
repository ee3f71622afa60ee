// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertRejects } from "@std/assert";
import { OsError, Reactor } from "../../ffi/mod.ts";
import { connectWithBackoff, waitAfter } from "../../lib/vhost_user/connect.ts";
import { FrontEnd } from "../../lib/vhost_user/front_end.ts";
import { SocketFolder, SOUND } from "./harness.ts";
import { HostileBackEnd } from "./hostile_back_end.ts";

// ---- connecting ----

Deno.test("connect() without a listener fails with its errno", async () => {
  await using reactor = new Reactor();
  using folder = new SocketFolder();
  const options = { reactor, name: "card0", deviceClass: SOUND };
  const error = await assertRejects(
    () => FrontEnd.connect(folder.socket("none"), options),
    OsError,
  );
  assertEquals(error.code, "ENOENT");
});

Deno.test("connectWithBackoff() waits for a back-end, and reports it after a second", async () => {
  await using reactor = new Reactor();
  using folder = new SocketFolder();
  const path = folder.socket("late");
  const waits: string[] = [];
  let back: HostileBackEnd | null = null;
  const front = await connectWithBackoff(path, {
    reactor,
    name: "card0",
    deviceClass: SOUND,
    onWaiting: (seconds, { message }) => {
      waits.push(`${seconds} ${message.includes("ENOENT")}`);
      back = new HostileBackEnd(reactor, path);
    },
  });
  assertEquals((await front.initialise()).queueCount, 4);
  assertEquals(waits, ["1 true"]);
  front.close();
  back![Symbol.dispose]();
});

Deno.test("the longer there is no listener, the longer the time between attempts", () => {
  const waits = [[0, 5], [40, 5], [80, 10], [400, 50], [800, 100], [60_000, 100]] as const;
  for (const [elapsed, wait] of waits) assertEquals(waitAfter(elapsed), wait);
});

Deno.test("connectWithBackoff() ends when aborted, before, between and after attempts", async () => {
  await using reactor = new Reactor();
  using folder = new SocketFolder();
  const path = folder.socket("none");
  const attempt = (signal: AbortSignal): Promise<FrontEnd> =>
    connectWithBackoff(path, { reactor, name: "card0", deviceClass: SOUND, signal });
  for (const when of [queueMicrotask, (abort: () => void) => setTimeout(abort, 5)]) {
    const abort = new AbortController();
    const connecting = attempt(abort.signal);
    when(() => abort.abort(new Error("enough")));
    await assertRejects(() => connecting, Error, "enough");
    await assertRejects(() => attempt(abort.signal), Error, "enough");
  }
});

Deno.test("connectWithBackoff() does not wait where that cannot help", async () => {
  await using reactor = new Reactor();
  const options = { reactor, name: "card0", deviceClass: SOUND };
  const error = await assertRejects(() => connectWithBackoff("x".repeat(200), options), OsError);
  assertEquals(error.code, "ENAMETOOLONG");
});
