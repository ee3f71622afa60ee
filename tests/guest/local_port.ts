// SPDX-License-Identifier: Apache-2.0
/** A guest's port and its device on one thread: the device works whenever the guest waits. Every access is written down. */
import type { StartablePort } from "../../lib/guest/session.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { FakeDevice, type FakeOptions } from "./fake_device.ts";

const BASE = 0x4000_0000;

export class LocalPort implements StartablePort {
  readonly memory: GuestMemory;
  readonly guestBase: number = BASE;
  readonly device: FakeDevice;
  /** "R 0x070 = 0x1" and "W 0x070 = 0x1", "R1 …" when it is not 4 bytes. */
  readonly accesses: string[] = [];

  constructor(options: FakeOptions, readonly memorySize: number = 4 << 20) {
    this.memory = new GuestMemory([{ guest: BASE, buffer: new ArrayBuffer(memorySize) }]);
    this.device = new FakeDevice(this.memory, options);
  }

  read(offset: number, size: number): number {
    const value = this.device.registers.read(offset, size);
    this.#log("R", offset, size, value);
    return value;
  }

  write(offset: number, size: number, value: number): void {
    this.#log("W", offset, size, value);
    this.device.registers.write(offset, size, value);
  }

  #log(kind: string, offset: number, size: number, value: number): void {
    const where = `0x${offset.toString(16).padStart(3, "0")}`;
    this.accesses.push(`${kind}${size === 4 ? "" : size} ${where} = 0x${value.toString(16)}`);
  }

  waitInterrupt(_timeoutMs: number): boolean {
    this.device.run();
    const came = this.device.interrupt;
    this.device.interrupt = false;
    return came;
  }

  waitStarted(_timeoutMs: number): unknown {
    return true;
  }
}
