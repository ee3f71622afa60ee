// SPDX-License-Identifier: Apache-2.0
/**
 * `viola attach … --keep` as a process of its own, to be ended and started again: the next one goes on.
 *
 * @module
 */
import { Process, type TempFolder } from "../../support/process.ts";
import { OwnStore } from "../../support/store.ts";

const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

/** Who keeps the devices of an {@linkcode Adapter} while it does not run, and starts it. */
export interface Keeping extends AsyncDisposable {
  start(program: string, args: string[]): Promise<Process>;
}

/** A store process of viola's, the test's own. */
export function byProcess(folder: TempFolder): Keeping {
  const store = new OwnStore(folder.file("store"));
  const { env } = store;
  return {
    start: (program, args) => Promise.resolve(Process.start(program, args, { env })),
    [Symbol.asyncDispose]: () => Promise.resolve(store[Symbol.dispose]()),
  };
}

/** See the module. */
export class Adapter implements AsyncDisposable {
  #said = "";

  private constructor(
    readonly keeping: Keeping,
    readonly args: string[],
    private current: Process,
  ) {}

  /** Starts `viola attach ARGS --keep`. */
  static async start(args: string[], keeping: Keeping): Promise<Adapter> {
    const all = ["run", "-A", "--no-prompt", "--no-check", MAIN, "attach", ...args, "--keep"];
    return new Adapter(keeping, all, await keeping.start(Deno.execPath(), all));
  }

  /** The one that runs, or ran last. */
  get process(): Process {
    return this.current;
  }

  /** What all of them printed. */
  get output(): string {
    return this.#said + this.current.stdout + this.current.stderr;
  }

  /** Ends it by a signal, waits for its end, and starts the next. */
  async restart(signal: Deno.Signal): Promise<void> {
    this.current.signal(signal);
    await this.current.ended;
    this.#said = this.output;
    this.current = await this.keeping.start(Deno.execPath(), this.args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.current[Symbol.asyncDispose]();
  }
}
