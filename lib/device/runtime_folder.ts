// SPDX-License-Identifier: Apache-2.0
/**
 * Where devices of one user meet.
 *
 * @module
 */

/** The folder for sockets of this user: /run for root, else $XDG_RUNTIME_DIR or /run/user/UID. */
export function runtimeFolder(): string {
  const uid = Deno.uid();
  if (uid === 0) return "/run";
  return Deno.env.get("XDG_RUNTIME_DIR") || `/run/user/${uid}`;
}
