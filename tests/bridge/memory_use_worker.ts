// SPDX-License-Identifier: Apache-2.0
// The ring Worker's part: goes in, looks whether the life is still the one it began with, works in two steps that must not
// be torn apart, goes out; for ever.
import { beginUse, endUse, type MemoryUse } from "../../lib/bridge/memory_use.ts";
import { EPOCH, FIRST, ROUNDS, SECOND, STOP } from "./memory_use_words.ts";

interface Start {
  use: MemoryUse;
  shared: Int32Array<SharedArrayBuffer>;
}

// A Worker's global scope has it; a window's types do not say so.
const scope = globalThis as unknown as {
  onmessage: (message: MessageEvent<Start>) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = ({ data: { use, shared } }) => {
  scope.postMessage("started");
  let rounds = 0;
  while (Atomics.load(shared, STOP) === 0) {
    beginUse(use);
    const epoch = Atomics.load(shared, EPOCH);
    // Plain stores: the use of the memory alone orders them.
    shared[FIRST] = epoch;
    for (let i = 0; i < 50; i++) shared[SECOND] = -1;
    shared[SECOND] = epoch;
    endUse(use);
    shared[ROUNDS] = ++rounds;
  }
  scope.postMessage("ended");
};
