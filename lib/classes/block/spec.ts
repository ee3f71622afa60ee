// SPDX-License-Identifier: Apache-2.0
/**
 * The specification of a block device, as plain data.
 *
 * @module
 */
import { type DeviceContract, SpecError } from "../../device/role.ts";
import { MAX_REQUEST_QUEUES } from "./class.ts";
import { ID_BYTES } from "./wire.ts";

/** A disk. Without a file it is one in memory. */
export interface BlockSpec {
  /** A file or a block device; its size is the disk's. Absent: a disk in memory, all zeros, as long as the device runs. */
  file?: string;
  /** Size of a disk in memory, in MiB. @default {64} */
  sizeMiB?: number;
  /** @default {"read-write"} */
  access?: "read-write" | "read-only";
  /** Bytes of a logical block, a power of 2 from 512 to 4096. @default the block device's, of a file 512 */
  blockSize?: number;
  /** Number of queues. @default {1} */
  queues?: number;
  /**
   * "writeback": a write is answered when the host has it, and is on the medium after a flush (the default).
   * "writethrough": a write is answered when it is on the medium. A driver may change it (VIRTIO_BLK_F_CONFIG_WCE), for
   * its own life.
   */
  cache?: "writeback" | "writethrough";
  /** The identifier that a driver can read, at most 20 characters of ASCII. @default the file's name */
  serial?: string;
}

/** The contract between the block device and its owner. */
export interface BlockDeviceContract extends DeviceContract {
  spec: BlockSpec;
}

/** A disk in memory, unless the specification says otherwise. */
const DEFAULT_MIB = 64;
const MAX_MIB = 65_536;

/** A specification with its defaults, checked. */
export interface BlockSettings {
  readonly file: string | null;
  readonly sizeMiB: number;
  readonly isReadOnly: boolean;
  /** 0: the file's own. */
  readonly blockSize: number;
  readonly queues: number;
  readonly isWriteback: boolean;
  /** {@linkcode ID_BYTES} bytes. */
  readonly id: Uint8Array<ArrayBuffer>;
}

function checkRange(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new SpecError(`Cannot make a disk with ${what} ${value}, expected ${min} to ${max}`);
}

/** Checks a specification. @throws {SpecError} for a value out of range */
export function parseBlock(spec: BlockSpec): BlockSettings {
  const { file = null, sizeMiB = DEFAULT_MIB, queues = 1, blockSize = 0 } = spec;
  const { access = "read-write", cache = "writeback" } = spec;
  if (file === "") {
    throw new SpecError("Cannot use an empty path as a disk, expected a file or a block device");
  }
  if (file !== null && spec.sizeMiB !== undefined) {
    throw new SpecError(`Cannot set the size of ${file}: a size is for a disk in memory only`);
  }
  checkRange("a size in MiB of", sizeMiB, 1, MAX_MIB);
  checkRange("a number of queues of", queues, 1, MAX_REQUEST_QUEUES);
  if (blockSize !== 0 && ![512, 1024, 2048, 4096].includes(blockSize)) {
    throw new SpecError(
      `Cannot make a disk with blocks of ${blockSize} bytes, expected 512, 1024, 2048 or 4096`,
    );
  }
  const isReadOnly = access === "read-only";
  const isWriteback = cache === "writeback";
  return { file, sizeMiB, isReadOnly, blockSize, queues, isWriteback, id: idOf(spec) };
}

/** What GET_ID returns: the serial, or the end of the file's name. @throws {SpecError} */
function idOf({ serial, file }: BlockSpec): Uint8Array<ArrayBuffer> {
  if (serial !== undefined && !/^[\x20-\x7e]{1,20}$/.test(serial)) {
    throw new SpecError(
      `Cannot use the serial "${serial}", expected 1 to ${ID_BYTES} characters of ASCII`,
    );
  }
  const name = serial ?? (file ?? "memory").split("/").at(-1)!.replace(/[^\x20-\x7e]/g, "_");
  const id = new Uint8Array(ID_BYTES);
  id.set(new TextEncoder().encode(name.slice(-ID_BYTES)));
  return id;
}
