// SPDX-License-Identifier: Apache-2.0
/**
 * The disk behind a block device: an open file, block device or memory, and its geometry.
 *
 * @module
 */
import {
  blockSizes,
  createMemory,
  type Fd,
  lockFile,
  O_RDONLY,
  O_RDWR,
  openDisk as openFile,
  OsError,
} from "../../../ffi/mod.ts";
import { SpecError } from "../../device/role.ts";
import type { BlockSettings } from "./spec.ts";
import { SECTOR_SIZE } from "./wire.ts";

/** An open disk; its owner closes `fd`. */
export interface Disk {
  readonly fd: Fd;
  /** As errors name it. */
  readonly name: string;
  /** It lies in memory: no operation on it has to wait. */
  readonly isMemory: boolean;
  readonly isReadOnly: boolean;
  /** Whole blocks only, in sectors. */
  readonly sectors: number;
  /** Bytes of a logical and a physical block. */
  readonly blockSize: number;
  readonly physicalBlockSize: number;
}

/** Bytes of a page of the host's cache: smaller writes read first. */
const PAGE_BYTES = 4096;

/**
 * Opens a disk. One that can be written is locked, so that no second viola writes to it.
 *
 * @throws {SpecError} for block sizes that the block device does not have, and a file without a whole block
 * @throws {OsError}
 */
export function openDisk(settings: BlockSettings): Disk {
  const { file, sizeMiB, isReadOnly } = settings;
  if (file === null) {
    const fd = createMemory("viola-block", sizeMiB * 2 ** 20);
    return describe({ fd, name: "memory", isMemory: true, isReadOnly }, 512, PAGE_BYTES, settings);
  }
  const { fd, kind } = open(file, isReadOnly);
  try {
    if (!isReadOnly) lock(fd, file);
    const sizes = kind === "file" ? { logical: 512, physical: PAGE_BYTES } : blockSizes(fd);
    const { logical, physical } = sizes;
    return describe({ fd, name: file, isMemory: false, isReadOnly }, logical, physical, settings);
  } catch (error) {
    fd.close();
    throw error;
  }
}

function open(file: string, isReadOnly: boolean): ReturnType<typeof openFile> {
  try {
    return openFile(file, isReadOnly ? O_RDONLY : O_RDWR);
  } catch (error) {
    const { code, message } = error as OsError;
    if (isReadOnly || code !== "EACCES" && code !== "EROFS") throw error;
    throw new SpecError(`${message}; if it is only to be read, use --access read-only`);
  }
}

function lock(fd: Fd, file: string): void {
  try {
    lockFile(fd, file);
  } catch (error) {
    const { code, message } = error as OsError;
    if (code !== "EAGAIN") throw error;
    throw new SpecError(`${message}; another process uses it as a disk`);
  }
}

function describe(
  base: Pick<Disk, "fd" | "name" | "isMemory" | "isReadOnly">,
  logical: number,
  physical: number,
  { blockSize: wanted }: BlockSettings,
): Disk {
  const blockSize = wanted || logical;
  if (blockSize < logical) {
    const text = `its own blocks have ${logical}`;
    throw new SpecError(`Cannot give ${base.name} blocks of ${blockSize} bytes: ${text}`);
  }
  const blocks = Math.floor(base.fd.size() / blockSize);
  if (blocks === 0) {
    const text = `it has ${base.fd.size()} bytes, expected at least ${blockSize}`;
    throw new SpecError(`Cannot use ${base.name} as a disk: ${text}`);
  }
  const sectors = blocks * (blockSize / SECTOR_SIZE);
  return { ...base, sectors, blockSize, physicalBlockSize: Math.max(physical, blockSize) };
}
