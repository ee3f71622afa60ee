// SPDX-License-Identifier: Apache-2.0
/**
 * Where devices of one user meet.
 *
 * @module
 */
import { SpecError } from "./role.ts";

/** A file name, so short that the path of a socket with it is no longer than it may be. */
const NAME = /^[A-Za-z0-9][\w.-]{0,31}$/;

/**
 * The place in that folder where devices of a class meet that are given the same name.
 *
 * @param what What the name is of, in errors: "bus"
 * @param className The class's
 * @throws {SpecError} for a name that is none
 */
export function meetingPlace(what: string, className: string, name: string): string {
  if (NAME.test(name)) return `${runtimeFolder()}/viola/${className}/${name}`;
  throw new SpecError(
    `Cannot use ${what} "${name}": expected a letter or digit, then up to 31 letters, digits, "_", "." or "-"`,
  );
}

/** The folder for sockets of this user: /run for root, else $XDG_RUNTIME_DIR or /run/user/UID. */
function runtimeFolder(): string {
  const uid = Deno.uid();
  if (uid === 0) return "/run";
  return Deno.env.get("XDG_RUNTIME_DIR") || `/run/user/${uid}`;
}
