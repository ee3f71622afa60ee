// SPDX-License-Identifier: Apache-2.0
/**
 * The block device (virtio 1.2 §5.2): a file, a block device or memory as a disk.
 *
 * Reads of what the host has in its cache, and all of a disk in memory, are done at once: they do not wait. Everything else
 * is done by io threads, and answered in the order in which it is done.
 *
 * @module
 */
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { bit } from "../../virtio/features.ts";
import { block } from "./class.ts";
import { offered, writeConfigOf } from "./config.ts";
import { openDisk } from "./disk.ts";
import { RequestRunner } from "./runner.ts";
import { parseRequest, typeOf } from "./request.ts";
import {
  type BlockDeviceContract,
  type BlockSettings,
  type BlockSpec,
  parseBlock,
} from "./spec.ts";
import {
  CONFIG_WRITEBACK,
  F_CONFIG_WCE,
  F_FLUSH,
  S_IOERR,
  S_OK,
  STATUS_SIZE,
  T_GET_ID,
} from "./wire.ts";

const FLUSH = bit(F_FLUSH);
const CONFIG_WCE = bit(F_CONFIG_WCE);

/** A disk. */
class BlockDevice implements VirtioDevice<BlockDeviceContract> {
  readonly features: bigint;
  readonly #host: DeviceHost;
  readonly #settings: BlockSettings;
  readonly #runner: RequestRunner;
  /** What the driver accepted; before that nothing, so that each write is committed. */
  #accepted = 0n;
  /** The config space's `writeback`. */
  #writeback: boolean;

  /** @throws {SpecError} @throws {OsError} when the disk cannot be opened */
  constructor(spec: BlockSpec, host: DeviceHost) {
    this.#host = host;
    this.#settings = parseBlock(spec);
    this.#writeback = this.#settings.isWriteback;
    const disk = openDisk(this.#settings);
    this.features = offered(disk, this.#settings);
    this.#runner = new RequestRunner(disk, host);
    this.#applyCache();
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    return writeConfigOf(this.#runner.disk, this.#settings, this.#writeback);
  }

  /**
   * Of the config space only `writeback` can be written, and 0 and 1 only. Before the features are known, the write is from a
   * front-end that restores a driver's setting.
   */
  writeConfig(offset: number, bytes: Uint8Array): void {
    const value = bytes[CONFIG_WRITEBACK - offset];
    const mayWrite = this.#accepted === 0n || (this.#accepted & CONFIG_WCE) !== 0n;
    if (value !== 0 && value !== 1 || !mayWrite) return;
    const wasWriteback = this.#writeback;
    this.#writeback = value === 1;
    this.#applyCache();
    // A driver that needs no flushes from now on sends none for what it wrote before.
    if (wasWriteback && !this.#writeback) this.#runner.flush();
  }

  /** §5.2.5.2: a driver that can switch the cache but not flush it finds it off. */
  featuresAccepted(features: bigint): void {
    this.#accepted = features;
    if ((features & (CONFIG_WCE | FLUSH)) === CONFIG_WCE && this.#writeback) {
      this.#writeback = false;
      this.#host.configChanged();
    }
    this.#applyCache();
  }

  /** §5.2.6.2: a driver that cannot flush has each write committed before it is answered. */
  #applyCache(): void {
    this.#runner.isStable = (this.#accepted & FLUSH) === 0n || !this.#writeback;
  }

  serve(queue: number, chain: Chain): void {
    if (chain.writableBytes < STATUS_SIZE) return this.#host.refuse(queue, chain, STATUS_SIZE);
    if (typeOf(chain) === T_GET_ID) return this.#identify(queue, chain);
    const request = parseRequest(queue, chain, this.#runner.disk);
    if (typeof request === "number") this.#runner.answer(queue, chain, request);
    else this.#runner.run(request);
  }

  #identify(queue: number, chain: Chain): void {
    const { id } = this.#settings;
    const hasRoom = chain.writableBytes >= id.length + STATUS_SIZE;
    if (hasRoom) chain.scatter(0, id);
    this.#runner.answer(queue, chain, hasRoom ? S_OK : S_IOERR, hasRoom ? id.length : 0);
  }

  tick(now: number): void {
    this.#runner.announce(now);
  }

  deadline(): number {
    return this.#runner.deadline();
  }

  drain(queue: number): boolean {
    return this.#runner.drain(queue);
  }

  stop(queue: number): void {
    this.#runner.abandon(queue);
  }

  reset(): void {
    this.#accepted = 0n;
    this.#writeback = this.#settings.isWriteback;
    this.#applyCache();
    this.#runner.reset();
  }

  close(): void {
    this.#runner.close();
  }
}

/** The embedded block device. */
export const device: DeviceRole<BlockDeviceContract> = {
  deviceClass: block,
  check: (spec) => openDisk(parseBlock(spec)).fd.close(),
  create: (spec, host) => new BlockDevice(spec, host),
};
