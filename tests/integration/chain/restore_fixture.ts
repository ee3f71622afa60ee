// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { Fd, Reactor } from "../../../ffi/mod.ts";
import { startGuest } from "../../../lib/guest/mod.ts";
import { rng } from "../../../lib/classes/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { assertFails, facts, reported } from "../cli/viola.ts";
import { type Process, TempFolder } from "../../support/process.ts";
import { ServiceManager, type ServiceManagerOptions } from "../../support/service_manager.ts";
import { DeviceProcess } from "./device_process.ts";

export const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

/** The state, and what a soft node consists of. */
export const KEPT = 7;

/** A soft node, a source of entropy, and a service manager with a store. */
export class Place implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: TempFolder,
    readonly reactor: Reactor,
    readonly manager: ServiceManager,
    public node: SoftNode,
  ) {}

  static async create(options?: ServiceManagerOptions): Promise<Place> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const manager = stack.use(await ServiceManager.create(folder, options));
    stack.use(DeviceProcess.start(["rng", "--socket", folder.file("card")]));
    const place = new Place(folder, reactor, manager, new SoftNode());
    place.node.listen(folder.file("node"), reactor);
    place.#stack.use(stack.move());
    return place;
  }

  get name(): string {
    return `soft:${this.folder.file("node")}`;
  }

  get args(): string[] {
    const { folder, name } = this;
    return [
      "attach",
      "rng",
      "--socket",
      folder.file("card"),
      "--loopback",
      name,
      "--keep",
      "--json",
      "--mmio-version",
      "1",
    ];
  }

  /** Runs viola as the manager's service. */
  start(
    args = this.args,
    options: { env?: Record<string, string>; fds?: Fd[] } = {},
  ): Promise<Process> {
    const run = ["run", "-A", "--no-prompt", "--no-check", MAIN, ...args];
    return this.manager.start(Deno.execPath(), run, options);
  }

  /** Has a device kept by the manager, its viola killed. */
  async leave(kept = KEPT): Promise<void> {
    await using first = await this.start();
    await reported(first, "started");
    await this.manager.keeps(kept);
    await first.stop("SIGKILL");
  }

  /** Runs one that must not go on from what is kept. */
  async assertRefused(
    reason: RegExp,
    options: { env?: Record<string, string>; fds?: Fd[] } = {},
  ): Promise<void> {
    await using second = await this.start(this.args, options);
    await assertFails(second, 2, reason);
    assertEquals(second.stderr.trimEnd().split("\n").length, 1, second.report());
    const served = ["restored", "started"];
    assert(!facts(second).some(({ event }) => served.includes(`${event}`)), second.report());
  }

  /** Runs one that goes on, with a driver that reads. */
  async assertRestored(options: { env?: Record<string, string>; fds?: Fd[] } = {}): Promise<void> {
    await using second = await this.start(this.args, options);
    await reported(second, "restored");
    await using guest = await startGuest(rng, this.node.wires);
    await guest.probe();
    assertEquals((await guest.call("readEntropy", 64)).length, 64);
    await second.stop("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.node.close();
    await this.#stack.disposeAsync();
  }
}
