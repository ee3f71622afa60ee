// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of echo devices and their drivers: nothing, as it does not know them. These demands are our own.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** lib/classes/README.md. */
export const MUSTS: readonly Must[] = [
  {
    section: "echo",
    of: "device",
    what: "gives back what it is sent",
    by: { not: "the tests that every class passes ask its driver to try that" },
  },
  {
    section: "echo",
    of: "driver",
    what: "gives room for what it sends",
    by: { not: "the tests that every class passes offer its device buffers without room" },
  },
];
