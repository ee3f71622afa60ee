// SPDX-License-Identifier: Apache-2.0
/**
 * The console device (virtio 1.2, §5.3): ports between the driver's queues and programs of the host.
 *
 * The host's ends are open as long as the device is, whatever the driver does: what a program wrote before there was a driver
 * is given to the first.
 *
 * @module
 */
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { console } from "./class.ts";
import { Control } from "./control.ts";
import type { HostEnd } from "./host_end.ts";
import { Port } from "./port.ts";
import {
  checkConsole,
  type ConsoleDeviceContract,
  type ConsoleEvent,
  type ConsoleSpec,
  openEnd,
  parsePort,
  type PortState,
  sizeOf,
} from "./spec.ts";
import { ConsoleTransmitter } from "./transmitter.ts";
import {
  EMERG_WR_AT,
  encodeConfig,
  F_EMERG_WRITE,
  F_MULTIPORT,
  F_SIZE,
  PORT_OPEN,
  RESIZE,
  type TerminalSize,
  VQ_CONTROL_TX,
} from "./wire.ts";

/** How often a terminal is asked for its size while a program is connected, in nanoseconds: it does not tell by itself. */
const LOOK_NS = 1e9;

/** Opens an end by its specification. */
export type OpenEnd = (end: string, host: DeviceHost<ConsoleEvent>) => HostEnd;

/** See the module. */
class ConsoleDevice implements VirtioDevice<ConsoleDeviceContract> {
  readonly features: bigint;
  readonly calls: ConsoleDeviceContract["calls"];
  readonly #host: DeviceHost<ConsoleEvent>;
  /** By their ids. */
  readonly #ports: readonly Port[];
  readonly #control: Control;
  /** The console's size while no terminal says another. */
  #ownSize: TerminalSize;
  #size: TerminalSize;
  #lookAt = Infinity;
  #accepted = 0n;

  constructor(spec: ConsoleSpec, host: DeviceHost<ConsoleEvent>, open: OpenEnd) {
    this.#host = host;
    const named = (spec.ports ?? []).map(parsePort);
    this.#ports = openPorts([{ name: "", end: spec.console ?? "null" }, ...named], host, open);
    this.features = bit(F_SIZE) | bit(F_EMERG_WRITE) | (named.length > 0 ? bit(F_MULTIPORT) : 0n);
    // Without a console the driver hears of the named ports only.
    const told = spec.console === undefined ? this.#ports.slice(1) : this.#ports;
    this.#control = new Control(told, {
      take: (queue) => host.take(queue),
      complete: (queue, chain, written) => host.complete(queue, chain, written),
      refuse: (queue, chain, expected) => host.refuse(queue, chain, expected),
      size: () => hasFeature(this.#accepted, F_SIZE) ? this.#size : null,
    });
    this.#ownSize = this.#size = sizeOf(spec);
    this.#look();
    this.calls = {
      ports: () => this.#ports.map(stateOf),
      resize: (cols, rows) => this.#resize(cols, rows),
    };
    for (const port of this.#ports) {
      if (port.end.place !== "connected to nothing") this.#report(port, `is ${port.end.place}`);
    }
  }

  get #hasControl(): boolean {
    return hasFeature(this.#accepted, F_MULTIPORT);
  }

  #report({ title, identity: { id }, isHostOpen }: Port, what: string): void {
    this.#host.report({ kind: "port", text: `${title} ${what}`, port: id, isOpen: isHostOpen });
  }

  // ---- what the driver says ----

  featuresAccepted(features: bigint): void {
    this.#accepted = features;
    const [first, ...others] = this.#ports;
    first!.isGuestOpen = !this.#hasControl;
    for (const port of others) port.isGuestOpen = false;
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    return encodeConfig({ ...this.#size, maxPorts: this.#ports.length });
  }

  /** Only emerg_wr is the driver's to write; it works before there are queues (§5.3.4). */
  writeConfig(offset: number, bytes: Uint8Array): void {
    const { tx } = this.#ports[0]!;
    const byte = offset <= EMERG_WR_AT ? bytes[EMERG_WR_AT - offset] : undefined;
    if (byte !== undefined && tx instanceof ConsoleTransmitter) tx.addByte(byte);
  }

  serve(queue: number, chain: Chain): void {
    if (queue === VQ_CONTROL_TX) return this.#control.receive(chain);
    this.#portOf(queue)!.tx.add(chain);
  }

  #portOf(txQueue: number): Port | undefined {
    return this.#ports.find(({ rxQueue }) => rxQueue + 1 === txQueue);
  }

  // ---- what is due ----

  tick(now: number): void {
    if (now >= this.#lookAt) this.#look();
    for (const port of this.#ports) {
      port.move(now);
      this.#follow(port);
    }
    if (this.#hasControl) this.#control.deliver();
  }

  #follow(port: Port): void {
    while (port.follow(!this.#control.isPending(port, PORT_OPEN))) {
      this.#report(port, port.isHostOpen ? "is open: a program is connected" : "is closed");
      if (port.identity.id === 0) this.#look();
      if (this.#hasControl) this.#control.tell(port, PORT_OPEN);
    }
  }

  /** Looks whether the terminal has another size. */
  #look(): void {
    const [{ end, isHostOpen }] = this.#ports as [Port];
    this.#lookAt = isHostOpen && end.size !== undefined ? this.#host.now() + LOOK_NS : Infinity;
    const { cols, rows } = end.size?.() ?? this.#ownSize;
    if (cols === this.#size.cols && rows === this.#size.rows) return;
    this.#size = { cols, rows };
    if (!hasFeature(this.#accepted, F_SIZE)) return;
    if (this.#hasControl) this.#control.tell(this.#ports[0]!, RESIZE);
    this.#host.configChanged();
  }

  #resize(cols: number, rows: number): void {
    this.#ownSize = sizeOf({ size: `${cols}x${rows}` });
    this.#look();
  }

  deadline(): number {
    return Math.min(this.#lookAt, ...this.#ports.map((port) => port.deadline));
  }

  // ---- the end ----

  drain(queue: number): boolean {
    return this.#portOf(queue)?.drain(this.#host.now()) ?? true;
  }

  stop(queue: number, abandoned: boolean): void {
    this.#portOf(queue)?.stop(abandoned);
  }

  /** Programs stay connected. */
  reset(): void {
    this.#accepted = 0n;
    this.#control.clear();
    for (const port of this.#ports) port.isGuestOpen = false;
  }

  close(): void {
    for (const port of this.#ports) port[Symbol.dispose]();
  }
}

function stateOf(
  { identity: { id, name }, end, isHostOpen, isGuestOpen, dropped }: Port,
): PortState {
  return { id, name, place: end.place, isHostOpen, isGuestOpen, dropped };
}

/** @throws {SpecError} when an end cannot be opened; then none is */
function openPorts(
  specs: readonly { readonly name: string; readonly end: string }[],
  host: DeviceHost<ConsoleEvent>,
  open: OpenEnd,
): Port[] {
  using made = new DisposableStack();
  const ports = specs.map(({ name, end }, id) =>
    made.use(new Port({ id, name, isConsole: id === 0 }, open(end, host), host))
  );
  made.move();
  return ports;
}

/** Makes a console with ends of any kind. */
export function createConsole(
  spec: ConsoleSpec,
  host: DeviceHost<ConsoleEvent>,
  open: OpenEnd,
): VirtioDevice<ConsoleDeviceContract> {
  return new ConsoleDevice(spec, host, open);
}

/** The embedded console. */
export const device: DeviceRole<ConsoleDeviceContract> = {
  deviceClass: console,
  check: checkConsole,
  create: (spec, host) => createConsole(spec, host, openEnd),
};
