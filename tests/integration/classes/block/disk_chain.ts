// SPDX-License-Identifier: Apache-2.0
/**
 * A disk whose device is a process of its own, the bridge, and the software driver.
 *
 * @module
 */
import { Reactor } from "../../../../ffi/mod.ts";
import { Bridge, type BridgeEvent, type MemoryMode } from "../../../../lib/bridge/mod.ts";
import { block } from "../../../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../../../lib/guest/mod.ts";
import { SoftNode } from "../../../../lib/loopback/mod.ts";
import { TempFolder } from "../../../support/process.ts";
import { DeviceProcess } from "../../chain/device_process.ts";

/** A process takes a while to start, on a machine that does other things too. */
const PATIENCE_MS = 60_000;

/** See the module. */
export class DiskChain implements AsyncDisposable {
  readonly events: BridgeEvent[] = [];
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly file: string,
    readonly device: DeviceProcess,
    readonly bridge: Bridge,
    readonly guest: Guest<typeof block>,
    stack: AsyncDisposableStack,
    events: BridgeEvent[],
  ) {
    this.#stack = stack;
    this.events = events;
  }

  /** @param args More of `viola device block`, whose file is there, with `bytes` zeros */
  static async create(memory: MemoryMode, bytes: number, args: string[] = []): Promise<DiskChain> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const node = stack.use(new SoftNode());
    node.listen(folder.file("node"), reactor);
    const [file, socket] = [folder.file("disk"), folder.file("socket")];
    Deno.writeFileSync(file, new Uint8Array(0));
    Deno.truncateSync(file, bytes);
    const device = stack.use(
      DeviceProcess.start(["block", "--socket", socket, "--file", file, ...args]),
    );
    const events: BridgeEvent[] = [];
    const bridge = stack.use(await Bridge.start({ onEvent: (event) => events.push(event) }));
    bridge.add({
      class: block,
      socket,
      loopback: `soft:${folder.file("node")}`,
      memory,
      mmioVersion: "auto",
      priority: 0,
      lane: "lane",
    });
    const patience = { controlTimeoutMs: PATIENCE_MS, stallTimeoutMs: PATIENCE_MS };
    const guest = stack.use(await startGuest(block, node.wires, patience));
    return new DiskChain(file, device, bridge, guest, stack.move(), events);
  }

  /** What the bridge and the device reported. */
  report(): string {
    const told = this.events.map(({ kind, text }) => `${kind}: ${text}`);
    return [...told, this.device.output].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
