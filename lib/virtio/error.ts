// SPDX-License-Identifier: Apache-2.0
/**
 * Errors for memory and rings that are malformed.
 *
 * @module
 */

/** An address range outside the memory. */
export class MemoryError extends Error {
  override readonly name = "MemoryError";

  /**
   * @param address Guest address of the first byte
   * @param length Bytes
   * @param problem What is wrong with the range, and what was expected
   */
  constructor(readonly address: number, readonly length: number, problem: string) {
    super(`Cannot use ${length} bytes at 0x${address.toString(16)}: ${problem}`);
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is MemoryError {
    return error instanceof Error && error.name === "MemoryError";
  }
}

/**
 * A malformed ring: the other side, or a caller of this side, broke a rule of virtio 1.2 §2.7. The ring is
 * left as it was before the step that failed, and is unusable until the queue is reset.
 */
export class RingError extends Error {
  override readonly name = "RingError";

  /**
   * @param device Name of the device
   * @param queue Index of the queue
   * @param action What was attempted, as in "take a chain from"
   * @param problem The value found, and what was expected
   */
  constructor(readonly device: string, readonly queue: number, action: string, problem: string) {
    super(`Cannot ${action} queue ${queue} of ${device}: ${problem}`);
  }
}
