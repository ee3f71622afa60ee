// SPDX-License-Identifier: Apache-2.0
/**
 * The error that ends a vhost-user connection.
 *
 * @module
 */

/**
 * Why a connection ended:
 * - `lost`: the peer closed the connection, or ended
 * - `late`: a reply did not come in time
 * - `protocol`: the peer violated the protocol
 * - `refused`: the peer replied with a failure (a NACK)
 * - `unfit`: the peer is valid, but does not fit (device class, queues, features)
 * - `closed`: this side closed the connection
 */
export type VhostUserFault = "lost" | "late" | "protocol" | "refused" | "unfit" | "closed";

/** A vhost-user connection failed and was closed. */
export class VhostUserError extends Error {
  override readonly name = "VhostUserError";

  constructor(readonly fault: VhostUserFault, message: string, options?: ErrorOptions) {
    super(message, options);
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is VhostUserError {
    return error instanceof Error && error.name === "VhostUserError";
  }
}

/** The error of a back-end's device for a message that it refuses. */
export function refusal(what: string, device: string, why: string): VhostUserError {
  return new VhostUserError("protocol", `Cannot handle ${what} for ${device}: ${why}`);
}
