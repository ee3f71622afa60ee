// SPDX-License-Identifier: Apache-2.0
/**
 * viola as a library: the parts of the `viola` command.
 *
 * A device is a vhost-user back-end at a socket, a bridge connects it to a loopback device, and a guest drives that where
 * there is no kernel module:
 *
 * ```ts
 * import { Bridge, Reactor, rng, SoftNode, startDevice, startGuest } from "@viola/viola";
 *
 * await using device = await startDevice(rng, { socket: "/tmp/rng.sock" });
 * await using reactor = new Reactor();
 * using node = new SoftNode();
 * node.listen("/tmp/rng.node", reactor);
 *
 * await using bridge = await Bridge.start({ onEvent: () => {} });
 * bridge.add({
 *   class: rng,
 *   socket: "/tmp/rng.sock",
 *   loopback: "soft:/tmp/rng.node",
 *   memory: "isolated",
 *   mmioVersion: "auto",
 *   priority: 0,
 *   lane: "main",
 * });
 *
 * await using guest = await startGuest(rng, node.wires);
 * await guest.probe();
 * const bytes = await guest.call("readEntropy", 64);
 * ```
 *
 * @module
 */
export { type Fd, Reactor, type Watch, type Watcher } from "./ffi/mod.ts";
export * from "./lib/bridge/mod.ts";
export * from "./lib/classes/mod.ts";
export * from "./lib/device/mod.ts";
export * from "./lib/guest/mod.ts";
export { SoftNode, type SoftWires } from "./lib/loopback/mod.ts";
export type * from "./lib/virtio/device_class.ts";
export type { FeatureNames } from "./lib/virtio/features.ts";
