// SPDX-License-Identifier: Apache-2.0
/**
 * A fake node of the AGL driver with a kernel behind it: `done` is set by WAKEUP and by nobody else, and START_LOOPBACK
 * makes the device appear to a guest of this process.
 *
 * @module
 */
import { BlockingWorker, EventFd, Fd, Mapping, pageSize, signalEvent } from "../../../ffi/mod.ts";
import { viewMemory } from "../../../ffi/mod.ts";
import { AGL_RELEASES, type Bell, SharedPage, SoftNode } from "../../../lib/loopback/mod.ts";
import type { SoftWires } from "../../../lib/loopback/mod.ts";
import { FakeAglNode } from "../../loopback/fake_agl.ts";
import type { KernelContract } from "./agl_kernel_worker.ts";

/** Bytes of the guest's memory. */
const MEMORY = 64 * 2 ** 20;
/** What the node's file is said to have: back-ends check that windows of 1 GiB lie within it. */
const FILE = 2 * 2 ** 30;
const { WAKEUP, START_LOOPBACK } = AGL_RELEASES["multi-sound"]!.requests;

/** See the module. */
export class AglMachine extends FakeAglNode implements AsyncDisposable {
  readonly #wakeup = EventFd.create();
  #kernel: BlockingWorker<KernelContract> | null = null;

  static async boot(): Promise<AglMachine> {
    const machine = new AglMachine(new SoftNode(FILE));
    const { page, answer } = machine.soft.wires;
    machine.#kernel = await BlockingWorker.start(
      new URL("./agl_kernel_worker.ts", import.meta.url),
      {
        name: "AGL kernel",
        init: { page, answer, wakeup: machine.#wakeup.number },
      },
    );
    return machine;
  }

  /** Where /proc/iomem would say that memory is. */
  get ram(): { start: number; end: number }[] {
    const { guestBase: start } = this.soft.wires;
    return [{ start, end: start + MEMORY }];
  }

  override get wires(): SoftWires {
    return { ...super.wires, memorySize: MEMORY };
  }

  override ioctl(
    request: number,
    argument: Uint8Array<ArrayBuffer> | null,
    operation: string,
  ): void {
    super.ioctl(request, argument, operation);
    if (request !== START_LOOPBACK) return;
    const [magic, version, deviceId, vendor] = new BigUint64Array(argument!.buffer);
    const fd = new Fd(this.soft.wires.page);
    using mapping = Mapping.create(fd, pageSize());
    fd.release();
    new SharedPage(viewMemory(mapping)).start({
      magic: Number(magic),
      version: Number(version),
      deviceId: Number(deviceId),
      vendor: Number(vendor),
    });
    signalEvent(this.soft.wires.interrupt);
  }

  override bell(request: number, argument: Uint8Array<ArrayBuffer> | null): Bell {
    if (request !== WAKEUP) return super.bell(request, argument);
    return { fd: this.#wakeup.number, request: 0, argument: null };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kernel?.close();
    this.#wakeup.close();
    this.soft.close();
  }
}
