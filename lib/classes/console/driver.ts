// SPDX-License-Identifier: Apache-2.0
/**
 * The console driver, as Linux's virtio_console: a page for each buffer of a receive queue, ports as the device adds them,
 * output of a console waited for at once, that of other ports piece by piece.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import type { DriverContract, DriverRole, Patience } from "../../guest/role.ts";
import { type MmioDevice, REGISTER, type VirtQueue } from "../../guest/transport.ts";
import { PAGE_SIZE } from "../../guest/pages.ts";
import { waitFor } from "../../guest/wait_for.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { console } from "./class.ts";
import {
  CONSOLE_PORT,
  CONTROL_SIZE,
  decodeControl,
  decodeResize,
  DEVICE_READY,
  EMERG_WR_AT,
  encodeControl,
  F_EMERG_WRITE,
  F_MULTIPORT,
  F_SIZE,
  MAX_PORTS,
  MAX_PORTS_AT,
  PORT_ADD,
  PORT_NAME,
  PORT_OPEN,
  PORT_READY,
  PORT_REMOVE,
  RESIZE,
  type TerminalSize,
} from "./wire.ts";

/** Bits that the driver knows. */
const FEATURES = bit(F_SIZE) | bit(F_MULTIPORT) | bit(F_EMERG_WRITE);
/** Bytes that are written at once, at most. */
const PIECE_BYTES = 32768;
/** Bytes that nobody has read yet, at most, in one port: then its buffers stay with the driver. */
const MOST_UNREAD = 2 ** 20;

/** What the driver shows. */
const PROGRESS = {
  states: [],
  totals: ["received", "sent", "malformed"],
  words: [],
  numbers: [],
} as const;

/** A port, as the device has told of it. */
export interface PortInfo {
  readonly id: number;
  readonly name: string;
  readonly isConsole: boolean;
  /** Whether a program of the host is connected; of a device without control queues: always. */
  readonly isHostOpen: boolean;
  /** Of a console whose size is known. */
  readonly size: TerminalSize | null;
}

/** What the console driver and its guest's owner agree on. */
export interface ConsoleDriverContract extends DriverContract {
  found: {
    /** The most ports that the device can have. */
    maxPorts: number;
  };
  calls: {
    /** All ports that there are. */
    ports(): PortInfo[];
    /** Waits until a port is as said. */
    awaitPort(id: number, wanted: Partial<PortInfo>): PortInfo;
    /** Opens a port, as a program does with `/dev/virtio-ports/NAME`. */
    open(id: number): void;
    /** Closes it. */
    close(id: number): void;
    /** Writes bytes, and waits until the device has taken them. @returns how many: fewer when the owner ended the call */
    write(id: number, bytes: Uint8Array): number;
    /** Reads exactly so many bytes. @returns fewer when the owner ended the call */
    read(id: number, count: number): Uint8Array<ArrayBuffer>;
    /** Puts a byte out without a queue. */
    emergencyWrite(byte: number): void;
  };
  progress: typeof PROGRESS;
}

/** A port's state and queues. */
interface Port {
  info: PortInfo;
  readonly rx: VirtQueue<number>;
  readonly tx: VirtQueue<null>;
  /** Whether the device has added it: its receive queue is filled. */
  isAdded: boolean;
  isOpen: boolean;
  unread: Uint8Array[];
  unreadBytes: number;
  /** Buffers that are not offered while too much is unread. */
  held: number[];
  inFlight: number;
}

/** A bound console. */
class ConsoleDriver {
  readonly #device: MmioDevice<typeof PROGRESS>;
  readonly #patience: Patience;
  readonly #ports: Port[] = [];
  /** Null where the device has no control queues. */
  readonly #controlTx: VirtQueue<number> | null = null;
  readonly #controlRx: VirtQueue<number> | null = null;
  readonly maxPorts: number;

  constructor(device: MmioDevice<typeof PROGRESS>, patience: Patience) {
    this.#device = device;
    this.#patience = patience;
    const hasControl = hasFeature(device.features, F_MULTIPORT);
    this.maxPorts = hasControl ? Math.min(device.readConfig(MAX_PORTS_AT), MAX_PORTS) : 1;
    this.#ports.push(this.#createPort(0));
    if (hasControl) {
      this.#controlRx = device.setUpQueue<number>("control rx", (...used) => this.#onTold(...used));
      this.#controlTx = device.setUpQueue<number>("control tx", (address) => {
        device.pages.free(address, CONTROL_SIZE);
      });
    }
    for (let id = 1; id < this.maxPorts; id++) this.#ports.push(this.#createPort(id));
    if (this.#controlRx !== null) this.#fill(this.#controlRx);
    device.ready();
    this.#begin(hasControl);
  }

  #createPort(id: number): Port {
    const rx = this.#device.setUpQueue<number>(`rx ${id}`, (address, written) => {
      this.#onReceived(port, address, written);
    });
    const tx = this.#device.setUpQueue<null>(`tx ${id}`, () => port.inFlight--);
    const info = { id, name: "", isConsole: false, isHostOpen: false, size: null };
    const state = { isAdded: false, isOpen: false, unread: [], unreadBytes: 0, held: [] };
    const port: Port = { info, rx, tx, ...state, inFlight: 0 };
    return port;
  }

  /** A device with control queues is asked for its ports; any other has one, a console. */
  #begin(hasControl: boolean): void {
    if (hasControl) return this.#tell(0, DEVICE_READY, 1);
    const [port] = this.#ports as [Port];
    port.info = { ...port.info, isConsole: true, isHostOpen: true };
    port.isOpen = true;
    this.configChanged();
    this.#add(port);
  }

  #add(port: Port): void {
    port.isAdded = true;
    this.#fill(port.rx);
  }

  #fill(queue: VirtQueue<number>): void {
    const { pages } = this.#device;
    const { size } = queue.queue.ring;
    const buffers = pages.allocate(size * PAGE_SIZE);
    for (let i = 0; i < size; i++) offer(queue, buffers + i * PAGE_SIZE);
    queue.kick();
  }

  // ---- control messages ----

  #tell(id: number, event: number, value: number): void {
    const { pages } = this.#device;
    const queue = this.#controlTx!;
    const address = pages.allocate(CONTROL_SIZE);
    pages.bytes(address, CONTROL_SIZE).set(encodeControl({ id, event, value }));
    const segments = [{ address, length: CONTROL_SIZE, writable: false }];
    this.#await("room for a control message", () => queue.add(segments, address));
    queue.kick();
  }

  #onTold(address: number, written: number): void {
    const bytes = this.#device.pages.bytes(address, Math.min(written, PAGE_SIZE)).slice();
    offer(this.#controlRx!, address);
    this.#controlRx!.kick();
    const message = decodeControl(new DataView(bytes.buffer));
    const port = this.#ports[message?.id ?? -1];
    if (message === null || port === undefined) return this.#device.progress.count("malformed");
    this.#obey(port, message.event, message.value, bytes.subarray(CONTROL_SIZE));
  }

  #obey(port: Port, event: number, value: number, rest: Uint8Array): void {
    const { id } = port.info;
    if (event === PORT_ADD) {
      if (!port.isAdded) this.#add(port);
      this.#tell(id, PORT_READY, 1);
    } else if (!port.isAdded) return;
    else if (event === PORT_REMOVE) port.isAdded = port.isOpen = false;
    else if (event === CONSOLE_PORT && value !== 0) this.#makeConsole(port);
    else if (event === PORT_NAME && port.info.name === "") {
      port.info = { ...port.info, name: new TextDecoder().decode(rest) };
    } else if (event === PORT_OPEN) port.info = { ...port.info, isHostOpen: value !== 0 };
    else if (event === RESIZE) this.#resize(port, rest);
  }

  #makeConsole(port: Port): void {
    if (port.info.isConsole) return;
    port.info = { ...port.info, isConsole: true };
    port.isOpen = true;
    this.#tell(port.info.id, PORT_OPEN, 1);
  }

  #resize(port: Port, { buffer, byteOffset, length }: Uint8Array): void {
    const size = decodeResize(new DataView(buffer, byteOffset, length));
    if (size === null) this.#device.progress.count("malformed");
    else if (port.info.isConsole) port.info = { ...port.info, size };
  }

  /** With control queues the device sends a message instead. */
  configChanged(): void {
    const device = this.#device;
    if (this.#controlTx !== null || !hasFeature(device.features, F_SIZE)) return;
    const [port] = this.#ports as [Port];
    const size = { cols: device.readConfig(0, 2), rows: device.readConfig(2, 2) };
    port.info = { ...port.info, size };
  }

  // ---- data ----

  /** What comes while no program has the port open is thrown away. */
  #onReceived(port: Port, address: number, written: number): void {
    const { pages, progress } = this.#device;
    const length = Math.min(written, PAGE_SIZE);
    if (port.isOpen && length > 0) {
      port.unread.push(pages.bytes(address, length).slice());
      port.unreadBytes += length;
      progress.set("received", progress.get("received") + length);
    }
    port.held.push(address);
    this.#offerHeld(port);
  }

  #offerHeld(port: Port): void {
    if (port.unreadBytes >= MOST_UNREAD || port.held.length === 0) return;
    for (const address of port.held.splice(0)) offer(port.rx, address);
    port.rx.kick();
  }

  ports(): PortInfo[] {
    return this.#ports.filter(({ isAdded }) => isAdded).map(({ info }) => info);
  }

  awaitPort(id: number, wanted: Partial<PortInfo>): PortInfo {
    const port = this.#ports[id]!;
    const isSo = () =>
      port.isAdded &&
      Object.entries(wanted).every(([name, value]) =>
        JSON.stringify(port.info[name as keyof PortInfo]) === JSON.stringify(value)
      );
    this.#await(`port ${id} with ${JSON.stringify(wanted)}`, isSo);
    return port.info;
  }

  #port(id: number): Port {
    const port = this.#ports[id];
    if (port?.isAdded) return port;
    throw new GuestError("ENODEV", `use port ${id} of ${this.#device.name}: there is none`);
  }

  open(id: number): void {
    const port = this.#port(id);
    port.isOpen = true;
    this.#tell(id, PORT_OPEN, 1);
  }

  close(id: number): void {
    const port = this.#port(id);
    port.isOpen = false;
    port.unread = [];
    port.unreadBytes = 0;
    this.#offerHeld(port);
    this.#tell(id, PORT_OPEN, 0);
  }

  /** A port that nobody of the host has open is waited for; a console is not. */
  write(id: number, bytes: Uint8Array): number {
    const { pages, progress } = this.#device;
    const port = this.#port(id);
    const address = pages.allocate(PIECE_BYTES);
    let done = 0;
    while (done < bytes.length && !this.#device.isToEnd()) {
      this.#await("the port to be open", () => port.info.isConsole || port.info.isHostOpen);
      const length = Math.min(PIECE_BYTES, bytes.length - done);
      pages.bytes(address, length).set(bytes.subarray(done, done + length));
      port.inFlight++;
      port.tx.add([{ address, length, writable: false }], null);
      port.tx.kick();
      this.#await("output to be taken", () => port.inFlight === 0);
      if (port.inFlight > 0) return done; // its page stays in use
      done += length;
      progress.set("sent", progress.get("sent") + length);
    }
    pages.free(address, PIECE_BYTES);
    return done;
  }

  read(id: number, count: number): Uint8Array<ArrayBuffer> {
    const port = this.#port(id);
    const bytes = new Uint8Array(count);
    let done = 0;
    while (done < count && !this.#device.isToEnd()) {
      this.#await(`${count - done} more bytes`, () => port.unread.length > 0);
      const [piece] = port.unread;
      if (piece === undefined) break;
      const taken = piece.subarray(0, count - done);
      bytes.set(taken, done);
      done += taken.length;
      port.unreadBytes -= taken.length;
      if (taken.length === piece.length) port.unread.shift();
      else port.unread[0] = piece.subarray(taken.length);
      this.#offerHeld(port);
    }
    return bytes.subarray(0, done);
  }

  emergencyWrite(byte: number): void {
    this.#device.port.write(REGISTER.config + EMERG_WR_AT, 4, byte);
  }

  /** Waits until something is so, or the owner wants the call to end. */
  #await(what: string, isSo: () => boolean): void {
    waitFor(this.#device, what, isSo, this.#patience.stallTimeoutMs);
  }

  /** Has the first port that can take output take some. */
  exercise(): void {
    const bytes = new TextEncoder().encode("viola\r\n");
    const isReady = ({ isAdded, info }: Port) => isAdded && (info.isConsole || info.isHostOpen);
    this.#await("a port to be ready", () => this.#ports.some(isReady));
    const port = this.#ports.find(isReady);
    if (port !== undefined) this.write(port.info.id, bytes);
  }
}

/** Offers a page for the device to write. */
function offer(queue: VirtQueue<number>, address: number): void {
  queue.add([{ address, length: PAGE_SIZE, writable: true }], address);
}

/** The software console driver. */
export const driver: DriverRole<ConsoleDriverContract> = {
  deviceClass: console,
  progress: PROGRESS,
  bind: (device, patience) => {
    const bound = device.bind(console.id, FEATURES, () => new ConsoleDriver(device, patience));
    return {
      found: { maxPorts: bound.maxPorts },
      calls: {
        ports: () => bound.ports(),
        awaitPort: (id, wanted) => bound.awaitPort(id, wanted),
        open: (id) => bound.open(id),
        close: (id) => bound.close(id),
        write: (id, bytes) => bound.write(id, bytes),
        read: (id, count) => bound.read(id, count),
        emergencyWrite: (byte) => bound.emergencyWrite(byte),
      },
      exercise: () => bound.exercise(),
      configChanged: () => bound.configChanged(),
    };
  },
};
