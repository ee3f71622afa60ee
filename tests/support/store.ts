// SPDX-License-Identifier: Apache-2.0
/**
 * The store process that viola starts: it outlives whoever started it, so a test must end its own.
 *
 * @module
 */
import type { Reactor } from "../../ffi/mod.ts";
import { StoreServer } from "../../lib/bridge/store/server.ts";

/** The store of a bridge in this very process, to be disposed of after that. */
export class LocalStore implements Disposable {
  /** Those that were started, in their order. */
  readonly started: StoreServer[] = [];
  /** For the bridge. */
  readonly options: { readonly path: string; readonly start: (path: string) => void };

  /** @param onStart Called before each start */
  constructor(path: string, reactor: Reactor, onStart: () => void = () => {}) {
    const start = (path: string): void => {
      onStart();
      this.started.push(new StoreServer(path, reactor));
    };
    this.options = { path, start };
  }

  [Symbol.dispose](): void {
    this.started.at(-1)?.close();
  }
}

/** A test's own store process, once a viola has started it; disposing of it ends it. */
export class OwnStore implements Disposable {
  /** The environment of those who shall use it. */
  readonly env: Record<string, string>;

  /** @param path Where it listens */
  constructor(readonly path: string) {
    this.env = { VIOLA_STORE: path };
  }

  /** Signals every store process that listens, or listened, there. @returns how many there were */
  signal(signal: Deno.Signal): number {
    let count = 0;
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const args = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
        const isIt = args.includes("store") || args.some((arg) => arg.endsWith("/store/main.ts"));
        if (!isIt || !args.includes(this.path)) continue;
        Deno.kill(Number(name), signal);
        count++;
      } catch { /* it ended meanwhile */ }
    }
    return count;
  }

  [Symbol.dispose](): void {
    this.signal("SIGTERM");
  }
}
