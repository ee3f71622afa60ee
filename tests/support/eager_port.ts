// SPDX-License-Identifier: Apache-2.0
/**
 * A driver's port for tests whose driver runs in viola's own thread.
 *
 * @module
 */
import { REGISTER } from "../../lib/guest/transport.ts";
import { SoftGuestPort } from "../../lib/loopback/mod.ts";
import { STATUS_DRIVER_OK } from "../../lib/virtio/state.ts";

/** Does not wait for the answer to DRIVER_OK, which this thread has a part in: its user does, while it is `pending`. */
export class EagerPort extends SoftGuestPort {
  override write(offset: number, size: number, value: number): void {
    const isReady = offset === REGISTER.status && (value & STATUS_DRIVER_OK) !== 0;
    if (isReady) this.beginWrite(offset, size, value);
    else super.write(offset, size, value);
  }
}
