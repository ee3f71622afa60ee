// SPDX-License-Identifier: Apache-2.0
// What does not compile between a Worker and its owner. Nothing here runs: `deno check` complains of a directive that
// expects an error where there is none.
import { type BlockingService, BlockingWorker, type Epoll, serveBlocking } from "../../ffi/mod.ts";

interface Adder {
  init: { base: number };
  calls: { add(a: number, b: number): number; clear(): void };
  event: { kind: "overflow"; by: number };
}

/** The owner's side. */
export async function owner(script: URL): Promise<void> {
  const good = { name: "adder", init: { base: 1 } };
  const adder = new BlockingWorker<Adder>(script, good);
  const sum: number = await adder.call("add", 1, sum0(adder));
  await adder.callWithin(sum, "clear");

  // @ts-expect-error: no such call
  await adder.call("subtract", 1, 2);
  // @ts-expect-error: an argument is missing
  await adder.call("add", 1);
  // @ts-expect-error: an argument of another type
  await adder.call("add", 1, "2");
  // @ts-expect-error: an argument too many
  await adder.call("clear", 1);
  // @ts-expect-error: a result of another type
  const _text: string = await adder.call("add", 1, 2);
  // @ts-expect-error: no deadline
  await adder.callWithin("add", 1, 2);

  // @ts-expect-error: set-up is given something else
  new BlockingWorker<Adder>(script, { name: "adder", init: { base: "1" } });
  // @ts-expect-error: set-up is given nothing
  new BlockingWorker<Adder>(script, { name: "adder" });
  // @ts-expect-error: there is no such event
  new BlockingWorker<Adder>(script, { ...good, onEvent: (event: { kind: "idle" }) => event });
}

function sum0(adder: BlockingWorker<Adder>): number {
  // @ts-expect-error: a promise of a result is no result
  const sum: number = adder.call("add", 0, 0);
  return sum;
}

/** The Worker's side. */
export function worker(epoll: Epoll): void {
  const rest = { epoll, turn: () => {}, close: () => {} };

  serveBlocking<Adder>(({ base }, report) => {
    report({ kind: "overflow", by: base });
    // @ts-expect-error: no such event
    report({ kind: "idle" });
    // @ts-expect-error: set-up is given nothing of that name
    report({ kind: "overflow", by: base.limit });
    return { ...rest, handlers: { add: async (a, b) => await a + b, clear: () => {} } };
  });

  const missing: BlockingService<Adder> = {
    ...rest,
    // @ts-expect-error: a call is not handled
    handlers: { add: (a, b) => a + b },
  };
  const unasked: BlockingService<Adder> = {
    ...rest,
    // @ts-expect-error: a handler for what is not called
    handlers: { add: (a, b) => a + b, clear: () => {}, subtract: () => 0 },
  };
  // @ts-expect-error: an argument of another type
  const arguments_: BlockingService<Adder>["handlers"]["add"] = (a: number, b: string) => a + +b;
  // @ts-expect-error: a result of another type
  const result: BlockingService<Adder>["handlers"]["add"] = (a, b) => `${a + b}`;
  void [missing, unasked, arguments_, result];
}
