// SPDX-License-Identifier: Apache-2.0
/**
 * The operating system: the only room that calls native code. Every descriptor, mapping and Worker made here has one
 * owner, which closes it once.
 *
 * @module
 */
export { closesPending } from "./aside.ts";
export * from "./can.ts";
export * from "./clock.ts";
export * from "./disk.ts";
export * from "./epoll.ts";
export * from "./errno.ts";
export * from "./evdev.ts";
export * from "./fd.ts";
export * from "./gpio.ts";
export * from "./i2c.ts";
export * from "./memory.ts";
export * from "./peer_signal.ts";
export { asset } from "./assets.ts";
export * from "./peer_fd.ts";
export * from "./pty.ts";
export * from "./socket.ts";
export * from "./system.ts";
export * from "./tap.ts";
export * from "./tcp.ts";
export * from "./thread.ts";
export * from "./worker.ts";
