// SPDX-License-Identifier: Apache-2.0
/**
 * What each class was tried with, for README's table. A class that is not named here was tried with nothing but viola's own
 * devices and drivers, and back-ends made of its data.
 *
 * @module
 */
import { DAEMONS } from "../support/needs.ts";

/** What a class was tried with. */
export interface Tried {
  /** The daemon, with its version. */
  readonly daemon?: string;
  /** The version of the kernel whose driver was used. */
  readonly linux?: string;
}

const versioned = ([crate]: readonly [string, ...string[]]): string => crate.replace("@", " ");

/** By the class's name. */
export const TRIED: Readonly<Record<string, Tried>> = {
  // By tests/integration/real and by the emulated machine.
  sound: { daemon: versioned(DAEMONS["vhost-device-sound"]), linux: "6.12" },
  rng: { daemon: versioned(DAEMONS["vhost-device-rng"]), linux: "6.12" },
  block: { daemon: "qemu-storage-daemon 7.2", linux: "6.12" },
  input: { linux: "6.12" },
  gpio: { linux: "6.12" },
  i2c: { linux: "6.12" },
  net: { linux: "6.12" },
  // By the emulated machine: virtio_can of 7.2, built for 6.12.
  can: { linux: "6.12" },
  // The daemon by hand, with a driver that writes registers: a port is announced and opened, its output goes out.
  console: { daemon: "vhost-device-console 0.1.0", linux: "6.12" },
  // By hand: it is activated and reset.
  vsock: { daemon: "vhost-device-vsock 0.3.0" },
};
