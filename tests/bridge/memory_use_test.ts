// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { awaitUnused, beginUse, createMemoryUse, endUse } from "../../lib/bridge/memory_use.ts";
import { EPOCH, FIRST, ROUNDS, SECOND, STOP, WORDS } from "./memory_use_words.ts";

Deno.test("memory that is not in use is not waited for, before, between and after", () => {
  const use = createMemoryUse();
  awaitUnused(use);
  beginUse(use);
  endUse(use);
  awaitUnused(use);
  assertEquals([...use], [0, 0]);
});

Deno.test("when a life has ended and its end was awaited, nothing of it is half done, nor begun", async () => {
  const use = createMemoryUse();
  const shared = new Int32Array(new SharedArrayBuffer(4 * WORDS));
  const worker = new Worker(new URL("./memory_use_worker.ts", import.meta.url), { type: "module" });
  const message = () => new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  const started = message();
  worker.postMessage({ use, shared });
  assertEquals(await started, "started");
  const torn: string[] = [];
  // Until the other thread has been in often enough, too.
  for (let epoch = 1; epoch <= 200_000 || Atomics.load(shared, ROUNDS) <= 1000; epoch++) {
    Atomics.store(shared, EPOCH, epoch);
    awaitUnused(use);
    // The other thread may be in again, but only in the new life; what it does last is looked at first.
    const second = Atomics.load(shared, SECOND);
    const first = Atomics.load(shared, FIRST);
    if (first !== epoch && first !== second) torn.push(`${epoch}: ${first}, ${second}`);
  }
  const ended = message();
  Atomics.store(shared, STOP, 1);
  await ended;
  worker.terminate();
  assertEquals(torn, []);
});

Deno.test("one who waits for the end of a use is woken by it", async () => {
  const use = createMemoryUse();
  beginUse(use);
  const source = `import { awaitUnused } from ${
    JSON.stringify(new URL("../../lib/bridge/memory_use.ts", import.meta.url).href)
  };
    globalThis.onmessage = ({ data }) => { awaitUnused(data); globalThis.postMessage("unused"); };`;
  const script = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(script, { type: "module" });
  const unused = Promise.withResolvers<void>();
  let isUnused = false;
  worker.onmessage = () => {
    isUnused = true;
    unused.resolve();
  };
  worker.postMessage(use);
  while (Atomics.load(use, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!isUnused);
  endUse(use);
  await unused.promise;
  assertEquals([...use], [0, 0]);
  worker.terminate();
  URL.revokeObjectURL(script);
});
