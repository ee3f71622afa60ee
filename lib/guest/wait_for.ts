// SPDX-License-Identifier: Apache-2.0
/**
 * What calls of a driver wait for.
 *
 * @module
 */
import { GuestError } from "./error.ts";
import type { MmioDevice } from "./transport.ts";

/**
 * Waits until a condition is true, or the owner ends the call.
 *
 * @param what What is waited for, in errors: "a frame to leave"
 * @param timeoutMs Milliseconds
 * @throws {GuestError} ETIMEDOUT; as `MmioDevice.wait` besides
 */
export function waitFor(
  device: Pick<MmioDevice, "name" | "wait" | "isToEnd">,
  what: string,
  isSo: () => boolean,
  timeoutMs: number,
): void {
  if (device.wait(() => isSo() || device.isToEnd(), timeoutMs)) return;
  const text = `wait for ${what} by ${device.name}: not within ${timeoutMs} ms`;
  throw new GuestError("ETIMEDOUT", text);
}
