// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { createGate, enter, leave, settle } from "../../lib/bridge/gate.ts";
import { EPOCH, FIRST, ROUNDS, SECOND, STOP, WORDS } from "./gate_words.ts";

Deno.test("an empty gate is not waited for, before, between and after", () => {
  const gate = createGate();
  settle(gate);
  enter(gate);
  leave(gate);
  settle(gate);
  assertEquals([...gate], [0, 0]);
});

Deno.test("when a life has ended and the gate is settled, nothing of it is half done, nor begun", async () => {
  const gate = createGate();
  const shared = new Int32Array(new SharedArrayBuffer(4 * WORDS));
  const worker = new Worker(new URL("./gate_worker.ts", import.meta.url), { type: "module" });
  const message = () => new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  const started = message();
  worker.postMessage({ gate, shared });
  assertEquals(await started, "started");
  const torn: string[] = [];
  for (let epoch = 1; epoch <= 200_000; epoch++) {
    Atomics.store(shared, EPOCH, epoch);
    settle(gate);
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
  assert(shared[ROUNDS]! > 1000, `${shared[ROUNDS]} rounds`);
});

Deno.test("one who waits for the gate is woken when the other goes out", async () => {
  const gate = createGate();
  enter(gate);
  const source = `import { settle } from ${
    JSON.stringify(new URL("../../lib/bridge/gate.ts", import.meta.url).href)
  };
    globalThis.onmessage = ({ data }) => { settle(data); globalThis.postMessage("settled"); };`;
  const script = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(script, { type: "module" });
  const settled = Promise.withResolvers<void>();
  let isSettled = false;
  worker.onmessage = () => {
    isSettled = true;
    settled.resolve();
  };
  worker.postMessage(gate);
  while (Atomics.load(gate, 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!isSettled);
  leave(gate);
  await settled.promise;
  assertEquals([...gate], [0, 0]);
  worker.terminate();
  URL.revokeObjectURL(script);
});
