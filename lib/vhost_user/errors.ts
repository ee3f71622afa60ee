// SPDX-License-Identifier: Apache-2.0
/**
 * How a vhost-user conversation ends badly.
 *
 * @module
 */

/**
 * What ended it:
 * - `lost`: the other side closed the connection, or is gone
 * - `late`: a reply did not come in time
 * - `protocol`: what came is not what the protocol allows
 * - `refused`: the other side answered that it failed, or refuses (a NACK)
 * - `unfit`: the other side is sound, but not what is needed (device class, queues, features)
 * - `closed`: we closed the connection ourselves
 */
export type VhostUserFault = "lost" | "late" | "protocol" | "refused" | "unfit" | "closed";

/** A vhost-user conversation that failed. The connection it was on is closed. */
export class VhostUserError extends Error {
  override readonly name = "VhostUserError";

  constructor(readonly fault: VhostUserFault, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
