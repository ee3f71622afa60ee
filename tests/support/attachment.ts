// SPDX-License-Identifier: Apache-2.0
/**
 * One device attached in this process: a software loopback node, the bridge, and a guest that has bound the device.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { Bridge, type BridgeEvent, type MemoryMode } from "../../lib/bridge/mod.ts";
import { block, net, rng, sound } from "../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../lib/guest/mod.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import { TempFolder } from "./process.ts";

/** Linux's driver gives up after 1 s, which a machine busy with other things may need. */
const PATIENCE_MS = 10_000;

/** A guest's driver by device class. */
export interface Guests {
  block: Guest<typeof block>;
  net: Guest<typeof net>;
  rng: Guest<typeof rng>;
  sound: Guest<typeof sound>;
}

/** Options of {@linkcode attach}. */
export interface AttachmentOptions<Kind extends keyof Guests> {
  kind: Kind;
  /** The back-end's socket. */
  socket: string;
  /** @default {"isolated"} */
  memory?: MemoryMode;
  /** @default {1} */
  mmioVersion?: 1 | 2;
  /** CPUs of the lane's threads; any when absent. */
  cpus?: number[];
}

/** What {@linkcode attach} made; disposing of it ends all of it. */
export interface Attachment<Kind extends keyof Guests> extends AsyncDisposable {
  readonly node: SoftNode;
  readonly bridge: Bridge;
  readonly guest: Guests[Kind];
  /** What the bridge reported so far. */
  readonly events: BridgeEvent[];
}

/**
 * Attaches a device and probes it.
 *
 * @throws {Error} when it does not appear, with what the bridge reported
 */
export async function attach<Kind extends keyof Guests>(
  options: AttachmentOptions<Kind>,
): Promise<Attachment<Kind>> {
  const { kind, socket, memory = "isolated", mmioVersion = 1, cpus } = options;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await TempFolder.create());
  const reactor = stack.use(new Reactor());
  const node = stack.use(new SoftNode());
  node.listen(folder.file("node"), reactor);
  const events: BridgeEvent[] = [];
  const lane = "lane";
  const bridge = stack.use(
    await Bridge.start({
      lanes: [{ name: lane, cpus }],
      onEvent: (event) => events.push(event),
    }),
  );
  await bridge.ready();
  const loopback = `soft:${folder.file("node")}`;
  const deviceClass: DeviceClass = { block, net, rng, sound }[kind];
  bridge.add({
    class: deviceClass,
    socket,
    loopback,
    memory,
    mmioVersion,
    priority: 0,
    lane,
  });
  const started = await startGuest(deviceClass, node.wires, { controlTimeoutMs: PATIENCE_MS });
  const guest = stack.use(started) as unknown as Guests[Kind];
  try {
    await guest.probe();
  } catch (cause) {
    const told = events.map((event) => `${event.kind}: ${event.text}`).join("\n");
    throw new Error(`${(cause as Error).message}\nThe bridge reported:\n${told}`, { cause });
  }
  const kept = stack.move();
  return { node, bridge, guest, events, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
