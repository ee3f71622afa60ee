// SPDX-License-Identifier: Apache-2.0
// The ring Worker's part: goes in, looks whether the life is still the one it began with, works in two steps that must not
// be torn apart, goes out; for ever.
import { enter, type Gate, leave } from "../../lib/bridge/gate.ts";
import { EPOCH, FIRST, ROUNDS, SECOND, STOP } from "./gate_words.ts";

interface Start {
  gate: Gate;
  shared: Int32Array<SharedArrayBuffer>;
}

// A Worker's global scope has it; a window's types do not say so.
const scope = globalThis as unknown as {
  onmessage: (message: MessageEvent<Start>) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = ({ data: { gate, shared } }) => {
  scope.postMessage("started");
  let rounds = 0;
  while (Atomics.load(shared, STOP) === 0) {
    enter(gate);
    const epoch = Atomics.load(shared, EPOCH);
    // Plain stores: the gate alone orders them.
    shared[FIRST] = epoch;
    for (let i = 0; i < 50; i++) shared[SECOND] = -1;
    shared[SECOND] = epoch;
    leave(gate);
    rounds++;
  }
  shared[ROUNDS] = rounds;
  scope.postMessage("ended");
};
