// SPDX-License-Identifier: Apache-2.0
/**
 * A device of viola's as a process of its own, to be killed and started again.
 *
 * @module
 */
import { Process } from "../../support/process.ts";

const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

/** `viola device …`, run from source. */
export class DeviceProcess implements AsyncDisposable {
  #process: Process;

  private constructor(readonly args: string[], readonly outputFile?: string) {
    this.#process = this.#spawn();
  }

  /**
   * Starts `viola device ARGS`. It need not listen yet when this returns.
   *
   * @param outputFile Its standard output is appended to this file; absent: {@linkcode output} has it
   */
  static start(args: string[], outputFile?: string): DeviceProcess {
    return new DeviceProcess(args, outputFile);
  }

  #spawn(): Process {
    const run = ["run", "-A", "--no-prompt", MAIN, "device", ...this.args];
    if (this.outputFile === undefined) return Process.start(Deno.execPath(), run);
    const appending = 'exec "$@" >> "$0"';
    return Process.start("sh", ["-c", appending, this.outputFile, Deno.execPath(), ...run]);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The one that runs, or ran last. */
  get process(): Process {
    return this.#process;
  }

  /** What it printed since it was last started. */
  get output(): string {
    return this.#process.stdout + this.#process.stderr;
  }

  /** Kills it as a crash would, and starts it again. */
  async killAndRestart(): Promise<void> {
    this.#process.signal("SIGKILL");
    await this.#process.ended;
    this.#process = this.#spawn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
