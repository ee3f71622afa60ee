// SPDX-License-Identifier: Apache-2.0
/**
 * Errors of a software driver.
 *
 * @module
 */

/** A driver's failure, with the errno that Linux's driver would return. */
export class GuestError extends Error {
  override readonly name = "GuestError";

  /**
   * @param code The errno's name, such as "ETIMEDOUT"
   * @param text What could not be done and why, as the continuation of "Cannot …"
   */
  constructor(readonly code: string, text: string) {
    super(`Cannot ${text} (${code})`);
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is GuestError {
    return error instanceof Error && error.name === "GuestError";
  }
}

/** The guest's owner reset the driver: nothing more is sent to the device. */
export class Dropped extends Error {
  override readonly name = "Dropped";

  constructor() {
    super("The driver was reset during the call");
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is Dropped {
    return error instanceof Error && error.name === "Dropped";
  }
}

/** Runs an action and ignores its failure: for clean-up after another failure. */
export function attempt(action: () => void): void {
  try {
    action();
  } catch { /* the first error is the one to tell */ }
}
