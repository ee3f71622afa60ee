// SPDX-License-Identifier: Apache-2.0
/**
 * vhost-user, both roles: a front-end in one process uses a virtio device in another, over a Unix socket.
 *
 * @module
 */
export * from "./back_end.ts";
export { type BackoffOptions, connectWithBackoff } from "./connect.ts";
export * from "./errors.ts";
export * from "./front_end.ts";
export * from "./front_end_types.ts";
export * from "./inflight.ts";
export * from "./messages.ts";
