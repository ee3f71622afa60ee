// SPDX-License-Identifier: Apache-2.0
/**
 * vhost-user: how a virtio device that lives in one process is driven from another, over a Unix socket. Both roles.
 *
 * @module
 */
export * from "./back_end.ts";
export { type BackoffOptions, connectWithBackoff } from "./connect.ts";
export * from "./errors.ts";
export * from "./front_end.ts";
export * from "./messages.ts";
