// SPDX-License-Identifier: Apache-2.0
/**
 * The control queues of a device with several ports (virtio 1.2, §5.3.6.2): what the driver is told waits for its buffers, at
 * most one message of a kind for each port.
 *
 * @module
 */
import type { DeviceHost } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import type { Port } from "./port.ts";
import {
  CONSOLE_PORT,
  CONTROL_SIZE,
  type ControlMessage,
  decodeControl,
  DEVICE_READY,
  encodeControl,
  encodeResize,
  PORT_ADD,
  PORT_NAME,
  PORT_OPEN,
  PORT_READY,
  RESIZE,
  type TerminalSize,
  VQ_CONTROL_RX,
  VQ_CONTROL_TX,
} from "./wire.ts";

/** What the driver is told, in this order for each port. */
const ORDER = [PORT_ADD, CONSOLE_PORT, PORT_NAME, PORT_OPEN, RESIZE] as const;

/** An event that the driver is told. */
export type Told = typeof ORDER[number];

/** What it needs of its device. */
export interface ControlHost extends Pick<DeviceHost, "take" | "complete" | "refuse"> {
  /** The console's size; null when the driver does not want to know. */
  size(): TerminalSize | null;
}

/** See the module. */
export class Control {
  readonly #pending = new Map<Port, Set<Told>>();
  /** Ports that the driver has set up. */
  readonly #ready = new Set<Port>();
  readonly #request = new Uint8Array(CONTROL_SIZE);

  /** @param ports Those that the driver is told of */
  constructor(readonly ports: readonly Port[], readonly host: ControlHost) {
    for (const port of ports) this.#pending.set(port, new Set());
  }

  /** Whether the driver has not been told yet. */
  isPending(port: Port, event: Told): boolean {
    return this.#pending.get(port)?.has(event) === true;
  }

  /** Tells the driver of a change, when it has a buffer for that. One that has not set the port up is told then. */
  tell(port: Port, event: typeof PORT_OPEN | typeof RESIZE): void {
    if (this.#ready.has(port)) this.#add(port, event);
  }

  #add(port: Port, event: Told): void {
    this.#pending.get(port)?.add(event);
  }

  /** A message of the driver. Unknown ones, and those of ports that are not there, are ignored. */
  receive(chain: Chain): void {
    const length = chain.gather(0, this.#request);
    const message = decodeControl(new DataView(this.#request.buffer, 0, length));
    if (message !== null) this.#obey(message);
    this.host.complete(VQ_CONTROL_TX, chain, 0);
  }

  #obey({ id, event, value }: ControlMessage): void {
    const isYes = value === 1;
    if (event === DEVICE_READY) {
      if (isYes) { for (const port of this.ports) this.#add(port, PORT_ADD); }
      return;
    }
    const port = this.ports.find(({ identity }) => identity.id === id);
    if (port === undefined) return;
    if (event === PORT_READY) this.#setReady(port, isYes);
    else if (event === PORT_OPEN) port.isGuestOpen = isYes;
  }

  /** Whether a program is connected is said in any case: a device that was started again may have lost one. */
  #setReady(port: Port, isReady: boolean): void {
    if (!isReady) return void this.#ready.delete(port);
    const { isConsole, name } = port.identity;
    this.#ready.add(port);
    if (isConsole) this.#add(port, CONSOLE_PORT);
    if (name !== "") this.#add(port, PORT_NAME);
    this.#add(port, PORT_OPEN);
    if (isConsole && this.host.size() !== null) this.#add(port, RESIZE);
  }

  /** Gives the driver what it has buffers for. */
  deliver(): void {
    for (const [port, pending] of this.#pending) {
      for (const event of ORDER) {
        if (pending.has(event) && !this.#deliver(port, event)) return;
        pending.delete(event);
      }
    }
  }

  /** @returns false when there is no buffer; one that is too small is given back */
  #deliver(port: Port, event: Told): boolean {
    const message = this.#messageOf(port, event);
    for (;;) {
      const chain = this.host.take(VQ_CONTROL_RX);
      if (chain === null) return false;
      if (chain.writableBytes >= message.length) {
        this.host.complete(VQ_CONTROL_RX, chain, chain.scatter(0, message));
        return true;
      }
      this.host.refuse(VQ_CONTROL_RX, chain, message.length);
    }
  }

  #messageOf({ identity, isHostOpen }: Port, event: Told): Uint8Array<ArrayBuffer> {
    const { id, name } = identity;
    const value = event === PORT_OPEN ? Number(isHostOpen) : 1;
    if (event === PORT_NAME) {
      return encodeControl({ id, event, value }, new TextEncoder().encode(name));
    }
    const size = event === RESIZE ? this.host.size() : null;
    return encodeControl({ id, event, value }, size === null ? undefined : encodeResize(size));
  }

  /** The driver's life has ended. */
  clear(): void {
    for (const pending of this.#pending.values()) pending.clear();
    this.#ready.clear();
  }
}
