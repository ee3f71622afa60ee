// SPDX-License-Identifier: Apache-2.0
/**
 * Register accesses asked by C: answered by C as well, which is the floor, or by whoever serves a soft loopback device of
 * this process.
 *
 * @module
 */
import type { SoftWires } from "../../lib/loopback/mod.ts";
import { run, TempFolder } from "../support/process.ts";

/** The asking program, compiled for this run. */
export class Asker implements AsyncDisposable {
  private constructor(readonly folder: TempFolder) {}

  /** Compiles it. @throws {Error} with what the compiler printed */
  static async compile(): Promise<Asker> {
    const asker = new Asker(await TempFolder.create());
    const source = new URL("./floor.c", import.meta.url).pathname;
    await run("cc", ["-O2", "-pthread", "-o", asker.#program, source]);
    return asker;
  }

  get #program(): string {
    return this.folder.file("floor");
  }

  /**
   * Accesses answered by a second thread of C.
   *
   * @param count How many
   * @param cpu The asking thread's
   * @param answeringCpu The answering thread's
   * @returns nanoseconds each took
   */
  floor(count: number, cpu: number, answeringCpu: number): Promise<number[]> {
    return this.#run([count, cpu, answeringCpu]);
  }

  /** Accesses answered by the adapter that has a node of this process open. @returns nanoseconds each took */
  ask(count: number, cpu: number, wires: SoftWires): Promise<number[]> {
    return this.#run([count, cpu, Deno.pid, wires.page, wires.doorbell, wires.answer]);
  }

  async #run(args: number[]): Promise<number[]> {
    const text = await run(this.#program, args.map(String));
    return text.trimEnd().split("\n").map(Number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}
