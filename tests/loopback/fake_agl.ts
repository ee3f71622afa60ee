// SPDX-License-Identifier: Apache-2.0
/**
 * A node of the AGL driver that needs no kernel: the driver's state machine for `ioctl` and `mmap`, over the memory of a
 * software node. It answers only what the real one answers, in the order in which it does.
 *
 * @module
 */
import { Fd, Mapping, OsError, pageSize } from "../../ffi/mod.ts";
import { type AglNode, type Bell, type SoftNode, type SoftWires } from "../../lib/loopback/mod.ts";

const EFD_INIT = 0x400c6b01;
const WAKEUP = 0x40006b02;
const START_LOOPBACK = 0x40206b03;
const IRQ = 0x40046b04;
const SHARE_COM_STRUCT = 0x40006b07;
const ENOTTY = 25;
const EINVAL = 22;
const GIB = 2 ** 30;

/** See the module. */
export class FakeAglNode implements AglNode {
  readonly name = "/dev/loopback-238";
  /** What was called, in order. */
  readonly calls: string[] = [];
  /** The bytes that came with START_LOOPBACK. */
  identity: Uint8Array | null = null;
  #doorbell = -1;
  #shareCommon = false;
  #windows = 0;
  #closed = false;

  constructor(readonly soft: SoftNode) {}

  get number(): number {
    return this.soft.wires.memory;
  }

  /** What a guest driver needs to use the node: the doorbell is the one that the adapter brought. */
  get wires(): SoftWires {
    return { ...this.soft.wires, doorbell: this.#doorbell };
  }

  /** Whether the adapter closed it: on the real driver the end of the device. */
  get closed(): boolean {
    return this.#closed;
  }

  ioctl(request: number, argument: Uint8Array<ArrayBuffer> | null, operation: string): void {
    const view = argument === null ? null : new DataView(argument.buffer);
    this.calls.push(operation);
    switch (request) {
      case EFD_INIT:
        if (view?.byteLength !== 12 || view.getInt32(8, true) !== Deno.pid) break;
        this.#doorbell = view.getInt32(0, true);
        return;
      case SHARE_COM_STRUCT:
        if (this.#doorbell < 0) break;
        this.#shareCommon = true;
        return;
      case START_LOOPBACK:
        if (argument?.length !== 32 || this.#doorbell < 0) break;
        this.identity = argument.slice();
        return;
      default:
        throw new OsError(operation, ENOTTY);
    }
    throw new OsError(operation, EINVAL);
  }

  map(length: number): Mapping {
    const pages = length / pageSize();
    if (this.#shareCommon) {
      this.#shareCommon = false;
      this.calls.push("mmap page");
      return this.#map(this.soft.wires.page, length, 0);
    }
    if (pages <= 100) throw new OsError("map the node: nothing was shared", EINVAL);
    const window = this.#windows++;
    this.calls.push(`mmap window ${window} of ${length}`);
    const offset = window * GIB - this.soft.wires.guestBase;
    // Where the machine has no memory a mapping is possible, a touch of it deadly.
    return this.#map(this.soft.wires.memory, length, Math.max(offset, 0));
  }

  #map(number: number, length: number, offset: number): Mapping {
    const fd = new Fd(number);
    try {
      return Mapping.create(fd, length, offset);
    } finally {
      fd.release();
    }
  }

  bell(request: number, argument: Uint8Array<ArrayBuffer> | null): Bell {
    const fd = new Map([[WAKEUP, this.soft.wires.answer], [IRQ, this.soft.wires.interrupt]]);
    if (request === IRQ && argument?.length !== 4) throw new OsError("ring IRQ", EINVAL);
    return { fd: fd.get(request)!, request: 0, argument: null };
  }

  close(): void {
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
