// SPDX-License-Identifier: Apache-2.0
/**
 * What the virtio standard demands of a device class with "MUST", and which test shows that viola does it.
 *
 * Each class with a device of viola's own has a table, `tests/classes/NAME/musts.ts`. What the standard demands of the driver is
 * checked by the device, which must bear a driver that does otherwise, and done by the software driver.
 *
 * @module
 */

/** One demand. */
export interface Must {
  /** Section of virtio 1.2; of CAN, which is newer, the heading in the draft of 1.4. */
  readonly section: string;
  /** Of whom it is demanded. */
  readonly of: "device" | "driver";
  /** In our own words. */
  readonly what: string;
  /** The title of the test, or of its row, that would fail if it were not so; or why it is not enforced. */
  readonly by: { readonly test: string } | { readonly not: string };
}
