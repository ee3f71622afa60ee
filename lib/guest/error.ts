// SPDX-License-Identifier: Apache-2.0
/**
 * How a guest's driver fails.
 *
 * @module
 */

/** A driver's failure, with the errno that Linux's driver would return. */
export class GuestError extends Error {
  override readonly name = "GuestError";

  /**
   * @param code The errno's name, such as "ETIMEDOUT"
   * @param text What could not be done and why, as it continues "Cannot …"
   */
  constructor(readonly code: string, text: string) {
    super(`Cannot ${text} (${code})`);
  }
}

/** The guest's owner wants the driver to let go at once: nothing more is to be said to the device. */
export class Dropped extends Error {
  override readonly name = "Dropped";

  constructor() {
    super("The driver was reset during the call");
  }
}

/** For what is of no use when it fails, as something failed already. */
export function attempt(action: () => void): void {
  try {
    action();
  } catch { /* the first error is the one to tell */ }
}
