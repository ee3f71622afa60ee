// SPDX-License-Identifier: Apache-2.0
/**
 * All that takes part in a soak: one viola with honest cards in both memory modes and hostile peers, all on one lane.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import { Adapter, byProcess } from "../integration/chain/adapter.ts";
import { Filler } from "../integration/chain/back_ends.ts";
import { type Process, TempFolder, until } from "../support/process.ts";
import type { Draws } from "../support/random.ts";
import { Card } from "./card.ts";
import { liarAt, lie, malformedAt, type Peer, readEntropy, slowAt } from "./peers.ts";

/** Lines of a process's output that a report holds. */
const LINES = 25;
/** Bytes of each node's memory. */
const NODE_BYTES = 16 * 2 ** 20;
/** Names of nodes and sockets, in viola's order; the cards come first. */
const CARDS = ["isolated", "direct"] as const;
const PEERS = ["slow", "liar", "malformed", "driven"] as const;
const NAMES = [...CARDS, ...PEERS];
/** How long a viola may take to take its devices up, in milliseconds; a hang is found by the cards before that. */
const NEVER_MS = 10 * 60_000;

/** See the module. */
export class Stage implements AsyncDisposable {
  /** How many devices the violas restored. */
  restores = 0;
  /** What the peers did, once they have ended. */
  readonly background: Promise<{ entropy: number; lies: number }>;
  #over = false;

  private constructor(
    readonly folder: TempFolder,
    readonly adapter: Adapter,
    readonly cards: readonly Card[],
    readonly peers: readonly Peer[],
    nodes: readonly SoftNode[],
    draws: Draws,
    readonly stack: AsyncDisposableStack,
  ) {
    const goesOn = (): boolean => !this.#over;
    const [slow, liar, malformed, driven] = nodes.slice(CARDS.length);
    this.background = Promise.all([
      ...[slow, liar, malformed].map((node) => readEntropy(node!, goesOn)),
      lie(driven!, draws, goesOn),
    ]).then((counts) => ({
      entropy: counts.slice(0, -1).reduce((sum, n) => sum + n, 0),
      lies: counts.at(-1)!,
    }));
  }

  /** Starts all of it. @param draws For the driver that lies */
  static async start(draws: Draws): Promise<Stage> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const nodes = NAMES.map((name) => {
      const node = stack.use(new SoftNode(NODE_BYTES));
      node.listen(folder.file(`${name}-node`), reactor);
      return node;
    });
    const [slow, liar, malformed, driven] = PEERS.map((name) => folder.file(name));
    const peers = [
      stack.use(slowAt(reactor, slow!)),
      stack.use(liarAt(reactor, liar!)),
      stack.use(malformedAt(reactor, malformed!)),
    ];
    stack.use(new Filler(reactor, driven!));
    const keeping = stack.use(byProcess(folder));
    const adapter = stack.use(await Adapter.start(attachArgs(folder), keeping));
    const cards: Card[] = [];
    for (const [i, name] of CARDS.entries()) {
      cards.push(stack.use(await Card.start(name, folder, nodes[i]!)));
    }
    const stage = new Stage(folder, adapter, cards, peers, nodes, draws, stack.move());
    await stage.taken("started");
    return stage;
  }

  /** Ends viola by a signal, and starts the next. */
  async end(signal: Deno.Signal): Promise<void> {
    await this.adapter.restart(signal);
  }

  /** Waits until viola has restored the cards. @throws {Error} when it has not */
  async restored(): Promise<void> {
    await this.taken("restored");
    this.restores += this.#reports("restored").length;
  }

  /** Waits until viola has reported this of each card. @throws {Error} when it did otherwise, or ended */
  async taken(event: "started" | "restored"): Promise<void> {
    const { process } = this.adapter;
    const isSo = (): boolean => CARDS.every((_, i) => this.#reports(event).includes(deviceOf(i)));
    const other = event === "restored" ? "started" : "restored";
    await until(
      () => {
        if (process.status !== null) throw new Error(`viola ended\n${process.report()}`);
        const wrong = CARDS.some((_, i) => this.#reports(other).includes(deviceOf(i)));
        if (wrong) {
          throw new Error(
            `viola has ${other} a card, expected ${event}\n${process.report()}`,
          );
        }
        return isSo();
      },
      `viola to report "${event}"`,
      NEVER_MS,
    );
  }

  /** Devices of which the present viola has reported this. */
  #reports(event: string): string[] {
    const pattern = new RegExp(`"event":"${event}","device":"([^"]+)"`, "g");
    return [...this.adapter.process.stdout.matchAll(pattern)].map(([, device]) => device!);
  }

  /** Ends the peers' drivers. */
  async endPeers(): Promise<{ entropy: number; lies: number }> {
    this.#over = true;
    for (const peer of this.peers) peer.rest();
    return await this.background;
  }

  /** What the cards do, and the last lines that each process printed. */
  report(): string {
    const said = this.#processes.map((one) => one.report().split("\n").slice(-LINES).join("\n"));
    return [this.cards.map(({ state }) => state).join("\n"), ...said].join("\n---- ");
  }

  /** Kills all processes and waits for nothing: for a stage that may hang. Of no use afterwards. */
  async abort(): Promise<void> {
    for (const process of this.#processes) {
      process.signal("SIGKILL");
      process.signal("SIGCONT");
    }
    await this.adapter.keeping[Symbol.asyncDispose]();
    await this.folder[Symbol.asyncDispose]();
  }

  get #processes(): Process[] {
    return [this.adapter.process, ...this.cards.map(({ device }) => device.process)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

/** What viola calls its n-th device, where there are others of its class. */
function deviceOf(i: number): string {
  return `sound${i}`;
}

function attachArgs(folder: TempFolder): string[] {
  const args: string[] = NAMES.map((_, i) => i < CARDS.length ? "sound" : "rng");
  for (const name of NAMES) {
    args.push("--socket", folder.file(name), "--loopback", `soft:${folder.file(`${name}-node`)}`);
    args.push("--memory", name === "direct" ? "direct" : "isolated");
  }
  return [...args, "--json"];
}
