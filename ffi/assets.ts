// SPDX-License-Identifier: Apache-2.0
/**
 * The URLs of assets: files of the program that are located at run time instead of imported (Worker scripts, the shim).
 *
 * @module
 */

/** Whether this module is part of a bundle: bundles are JavaScript, the module itself is TypeScript. */
const isBundled = import.meta.url.endsWith(".js");

/** The name of an asset in a bundle, where all assets are in one folder with the bundle's own files. */
export function bundledName(path: string): string {
  return path.replaceAll("/", "-").replace(/\.ts$/, ".js");
}

/** The URL of an asset. @param path Its path from the root of the tree, such as "lib/device/worker.ts" */
export function asset(path: string): URL {
  return new URL(isBundled ? bundledName(path) : `../${path}`, import.meta.url);
}
