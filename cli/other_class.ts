// SPDX-License-Identifier: Apache-2.0
/**
 * `viola attach --virtio-id`: a device of a class that viola has no data of.
 *
 * @module
 */
import { deviceClassById } from "../lib/classes/mod.ts";
import type { ConfigClass, DeviceClass } from "../lib/virtio/device_class.ts";
import { CONFIG_SPACE_BYTES, isQueueSize, MAX_QUEUES } from "../lib/virtio/state.ts";
import { Failure, messageOf, USAGE } from "./exit.ts";
import { forEach, whole, wholes } from "./options.ts";

/** The options as given; each may occur several times. */
export interface OtherOptions {
  virtioId?: string[];
  queues?: string[];
  configSize?: string[];
  config?: string[];
}

/**
 * The classes that the options describe, one for each --virtio-id.
 *
 * @throws {Failure} with status 1
 */
export function otherClasses(
  { virtioId, queues, configSize, config }: OtherOptions,
): DeviceClass[] {
  const given = { "--queues": queues, "--config-size": configSize, "--config": config };
  const ids = virtioId ?? [];
  if (ids.length === 0) {
    const [option] = Object.entries(given).find(([, values]) => values !== undefined) ?? [];
    if (option === undefined) return [];
    throw new Failure(USAGE, `Cannot use ${option} without --virtio-id`);
  }
  if (queues === undefined) {
    throw new Failure(USAGE, "Cannot attach by --virtio-id: --queues is missing, such as 64,64");
  }
  if (configSize !== undefined && config !== undefined) {
    throw new Failure(USAGE, "Cannot use both --config-size and --config: expected one of them");
  }
  const sizes = forEach("--queues", queues, ids.length, [], readSizes);
  const none = {
    min: 0,
    max: 0,
    access: "cached",
    required: false,
    fixed: new Uint8Array(),
  } as const;
  const configs = config === undefined
    ? forEach<ConfigClass>("--config-size", configSize, ids.length, none, ownConfig)
    : forEach<ConfigClass>("--config", config, ids.length, none, fixedConfig);
  return ids.map((id, i) => makeClass(readId(id), sizes[i]!, configs[i]!));
}

function readId(text: string): number {
  const id = whole("--virtio-id", text, 1, 0xffff);
  const known = deviceClassById(id);
  if (known === undefined) return id;
  throw new Failure(
    USAGE,
    `Cannot use --virtio-id ${id}: that is class ${known.name}, expected viola attach ${known.name}`,
  );
}

function readSizes(text: string): number[] {
  const sizes = wholes("--queues", text, 1, 32768);
  const wrong = sizes.find((size) => !isQueueSize(size));
  if (wrong === undefined && sizes.length <= MAX_QUEUES) return sizes;
  const found = wrong === undefined ? `${sizes.length} queues` : `a size of ${wrong}`;
  throw new Failure(
    USAGE,
    `Cannot use --queues "${text}": it has ${found}, expected at most ${MAX_QUEUES} powers of 2`,
  );
}

/** A config space of the back-end's. */
function ownConfig(text: string): ConfigClass {
  const size = whole("--config-size", text, 1, CONFIG_SPACE_BYTES);
  return { min: size, max: size, access: "cached", required: true };
}

/** A config space in a file. */
function fixedConfig(path: string): ConfigClass {
  const fixed = readConfig(path);
  const { length } = fixed;
  if (length > 0 && length <= CONFIG_SPACE_BYTES) {
    return { min: length, max: length, access: "cached", required: false, fixed };
  }
  throw new Failure(
    USAGE,
    `Cannot use --config ${path}: it has ${length} bytes, expected 1 to ${CONFIG_SPACE_BYTES}`,
  );
}

/** The first bytes of a file, one more than a config space may have. */
function readConfig(path: string): Uint8Array<ArrayBuffer> {
  try {
    if (!Deno.statSync(path).isFile) throw new Error("it is not a file");
    using file = Deno.openSync(path);
    const bytes = new Uint8Array(CONFIG_SPACE_BYTES + 1);
    return bytes.slice(0, file.readSync(bytes) ?? 0);
  } catch (error) {
    throw new Failure(USAGE, `Cannot use --config ${path}: ${messageOf(error)}`);
  }
}

function makeClass(id: number, sizes: readonly number[], config: ConfigClass): DeviceClass {
  const bits = Array.from({ length: 24 }, (_, n) => [n, `feature ${n}`]);
  return {
    id,
    name: `virtio${id}`,
    summary: "a device of a class that viola does not know",
    dropInNames: [],
    queues: () => sizes.map((size, i) => ({ name: `queue ${i}`, kind: "request", size })),
    config,
    featureNames: Object.fromEntries(bits),
    masked: 0n,
    roles: {},
  };
}
