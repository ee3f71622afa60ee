// SPDX-License-Identifier: Apache-2.0
/**
 * Where the parts of the program lie that are not imported but found by their place: Workers' scripts and the shim.
 *
 * @module
 */

/** A bundle is JavaScript; this module of its own is not. */
const isBundled = import.meta.url.endsWith(".js");

/** What a part is called in a bundle, where all parts lie in one folder beside the bundle's own files. */
export function bundledName(path: string): string {
  return path.replaceAll("/", "-").replace(/\.ts$/, ".js");
}

/** A part of the program. @param path From the root of the tree, such as "lib/device/worker.ts" */
export function part(path: string): URL {
  return new URL(isBundled ? bundledName(path) : `../${path}`, import.meta.url);
}
