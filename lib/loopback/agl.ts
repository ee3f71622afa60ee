// SPDX-License-Identifier: Apache-2.0
/**
 * The AGL virtio-loopback driver: its ABI as a table, and the order of calls that opens a node.
 *
 * Three properties of the driver shape this file. A node is unusable after its first close, so it is opened once, as late
 * as possible, and never only to inspect it. The meaning of an `mmap` depends on the call before it, so the order of calls
 * is fixed. A large mapping is a window on physical memory whose address depends on how many windows were mapped since the
 * open, by any process: so either viola maps them (isolated memory) or the back-end does (direct), once.
 *
 * @module
 */
import {
  EventFd,
  Fd,
  ioctl,
  listSystemFolder,
  Mapping,
  O_RDWR,
  OsError,
  osError,
  pageSize,
  readSystemLink,
  unwrap,
} from "../../ffi/mod.ts";
import type { Identity } from "./page.ts";
import type { ChunkSource, RamRange } from "./chunks.ts";
import type {
  Bell,
  Loopback,
  LoopbackPort,
  MappedMemory,
  MemoryMode,
  SharedRegion,
} from "./port.ts";

/** The ABI of one family of driver releases. */
export interface AglAbi {
  /** Matches the names of its nodes. */
  readonly nodes: RegExp;
  /** ioctl numbers. */
  readonly requests: {
    readonly EFD_INIT: number;
    readonly WAKEUP: number;
    readonly START_LOOPBACK: number;
    readonly IRQ: number;
    readonly SHARE_VQS: number;
    readonly SHARE_BUF: number;
    readonly SHARE_COM_STRUCT: number;
  };
  /** How many queues drivers can set up by version 1 in a node's life: each QUEUE_PFN counts, and a reset frees none. */
  readonly maxQueueSetups: number;
}

const REQUESTS = {
  EFD_INIT: 0x400c_6b01,
  WAKEUP: 0x4000_6b02,
  START_LOOPBACK: 0x4020_6b03,
  IRQ: 0x4004_6b04,
  SHARE_VQS: 0x4004_6b05,
  SHARE_BUF: 0x4008_6b06,
  SHARE_COM_STRUCT: 0x4000_6b07,
} as const;

/** The releases by name; they differ in the names of their nodes. */
export const AGL_RELEASES: Record<string, AglAbi> = {
  epsilon: { nodes: /^\/dev\/loopback$/, requests: REQUESTS, maxQueueSetups: 16 },
  "multi-sound": { nodes: /^\/dev\/loopback-\d+$/, requests: REQUESTS, maxQueueSetups: 16 },
};

/** The release whose nodes have this name; null when there is none. */
export function aglRelease(path: string): string | null {
  for (const [name, abi] of Object.entries(AGL_RELEASES)) if (abi.nodes.test(path)) return name;
  return null;
}

/** Bytes from one window on physical memory to the next. */
export const WINDOW_BYTES = 2 ** 30;
/** Windows in a node's life. */
export const WINDOWS = 8;
/** The shortest mapping that is a window, in pages: from 101 on. */
const WINDOW_PAGES = 101;
/** IRQ's argument, as the C adapter passes it; the driver ignores it. */
const IRQ_NUMBER = 44;

/** An open node: a descriptor, or a fake one in tests. */
export interface AglNode extends Disposable {
  /** As the user named it. */
  readonly name: string;
  /** Its descriptor number, for back-ends to map. */
  readonly number: number;
  /** @throws {OsError} */
  ioctl(request: number, argument: Uint8Array<ArrayBuffer> | null, operation: string): void;
  /** @throws {OsError} */
  map(length: number): Mapping;
  /** A call as plain data, which the lane's Workers can make. */
  bell(request: number, argument: Uint8Array<ArrayBuffer> | null): Bell;
  close(): void;
}

/**
 * Checks that a path is a character device, without opening it.
 *
 * @throws {OsError} ENOENT, or ENODEV when it is no character device
 */
export function checkAglNode(path: string): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw osError(`open ${path} (is the loopback driver's module loaded?)`, "ENOENT");
  }
  if (!info.isCharDevice) {
    throw osError(`open ${path} (it is not a character device, so not a loopback node)`, "ENODEV");
  }
}

/** Whether a node was opened: never, now by a process, or earlier (`spent`: unusable until the machine is restarted). */
export type NodeUse = { kind: "unopened" } | { kind: "open"; pid: number } | { kind: "spent" };

/**
 * Finds out whether a node was opened, by its size in `stat`: 0 bytes before the first open, 2 GiB afterwards. It is not
 * opened to find out, since AGL's driver survives neither the close nor a second open.
 *
 * @throws {Deno.errors.NotFound}
 */
export function nodeUse(path: string): NodeUse {
  if (Deno.statSync(path).size === 0) return { kind: "unopened" };
  const pid = openerOf(path);
  return pid === null ? { kind: "spent" } : { kind: "open", pid };
}

/**
 * Refuses a node that was opened before.
 *
 * @throws {OsError} EBUSY while a process has it open, ENODEV when the node is spent
 */
export function checkUnopened(path: string): void {
  const use = nodeUse(path);
  if (use.kind === "unopened") return;
  if (use.kind === "open") throw osError(`open ${path} (process ${use.pid} has it open)`, "EBUSY");
  throw osError(
    `open ${path} (it is unusable: it was open before, and AGL's driver does not recover from a node's close; ` +
      "restart the machine)",
    "ENODEV",
  );
}

/** The process that has a node open, null when none is found. Other users' processes are found by root only. */
function openerOf(path: string): number | null {
  const target = Deno.realPathSync(path);
  const pids = listSystemFolder("/proc").map(Number).filter(Number.isInteger);
  return pids.find((pid) => hasOpen(pid, target)) ?? null;
}

function hasOpen(pid: number, target: string): boolean {
  const folder = `/proc/${pid}/fd`;
  const numbers = unlessGone(() => listSystemFolder(folder)) ?? [];
  return numbers.some((number) =>
    unlessGone(() => readSystemLink(`${folder}/${number}`)) === target
  );
}

/** Reads something of a process; null when it has ended meanwhile or belongs to another user. */
function unlessGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (OsError.is(error)) return null;
    throw error;
  }
}

/**
 * Opens a node, for the first and only time in its life.
 *
 * @throws {OsError} ENOENT, ENODEV, EBUSY, EACCES …
 */
export function openAglNode(path: string): AglNode {
  checkAglNode(path);
  checkUnopened(path);
  return aglNodeOf(path, Fd.open(path, O_RDWR));
}

/** A node that is open already. @param fd Closed with it */
export function aglNodeOf(path: string, fd: Fd): AglNode {
  return {
    name: path,
    number: fd.number,
    ioctl: (request, argument, operation) => {
      unwrap(ioctl(fd.number, request, argument), `${operation} on ${path}`);
    },
    map: (length) => Mapping.create(fd, length),
    bell: (request, argument) => ({ fd: fd.number, request, argument }),
    close: () => fd.close(),
    [Symbol.dispose]: () => fd.close(),
  };
}

/**
 * The ranges of physical memory: "System RAM" in /proc/iomem.
 *
 * @throws {Error} when the addresses are hidden, as they are for all users but root
 */
export function parseIomem(text: string): RamRange[] {
  const ranges: RamRange[] = [];
  for (const line of text.split("\n")) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) : System RAM$/.exec(line);
    if (match === null) continue;
    ranges.push({ start: parseInt(match[1]!, 16), end: parseInt(match[2]!, 16) + 1 });
  }
  if (!ranges.some(({ end }) => end > 1)) {
    throw new Error(
      "Cannot find physical memory: /proc/iomem shows no System RAM addresses (run as root, with CAP_SYS_ADMIN)",
    );
  }
  return ranges;
}

/** Options of {@linkcode AglLoopback.open}. */
export interface AglOptions {
  /**
   * Who maps memory: viola its windows (isolated), the back-end (direct), or, where the device is restored and no window is
   * left, viola in pieces as they are needed (pieces).
   */
  memory: MemoryMode | "pieces";
  /** The ranges of physical memory; no other address is accessed. */
  ram: readonly RamRange[];
}

/** viola's end of an AGL node. */
export class AglLoopback implements Loopback {
  #doorbell = EventFd.create();
  #page: Mapping | null = null;
  #windows: Mapping[] = [];
  readonly port: LoopbackPort;
  readonly shares: readonly SharedRegion[];
  /** One: the first back-end that maps the windows uses them up. */
  readonly backEndLives: number = 1;

  private constructor(readonly node: AglNode, readonly abi: AglAbi, options: AglOptions) {
    const { requests } = abi;
    try {
      node.ioctl(requests.EFD_INIT, encodeEfdInit(this.#doorbell.number, Deno.pid), "EFD_INIT");
      node.ioctl(requests.SHARE_COM_STRUCT, null, "SHARE_COM_STRUCT");
      this.#page = node.map(pageSize());
      const memory = options.memory === "isolated" ? this.#mapWindows(options.ram) : [];
      this.port = {
        name: node.name,
        page: this.#page.range,
        doorbell: this.#doorbell.number,
        wakeup: node.bell(requests.WAKEUP, null),
        interrupt: node.bell(requests.IRQ, encodeInt(IRQ_NUMBER)),
        setsDone: false,
        memory,
        chunks: options.memory === "pieces" ? this.#chunks(options.ram) : null,
      };
    } catch (error) {
      this.close();
      throw error;
    }
    this.shares = Array.from({ length: WINDOWS }, (_, i) => ({
      guest: i * WINDOW_BYTES,
      size: WINDOW_BYTES,
      offset: 0,
      fd: node.number,
    }));
  }

  /**
   * Sets up an opened node: EFD_INIT, SHARE_COM_STRUCT, the page, then the windows. START_LOOPBACK comes later.
   *
   * @throws {OsError} ENOTTY when the node belongs to another driver
   */
  static open(node: AglNode, abi: AglAbi, options: AglOptions): AglLoopback {
    return new AglLoopback(node, abi, options);
  }

  /** Maps windows in order up to the last one that contains memory; those that contain none are mapped as short as possible. */
  #mapWindows(ram: readonly RamRange[]): MappedMemory[] {
    const memory: MappedMemory[] = [];
    const end = Math.max(...ram.map((range) => range.end));
    const count = Math.min(WINDOWS, Math.ceil(end / WINDOW_BYTES));
    for (let i = 0; i < count; i++) {
      const base = i * WINDOW_BYTES;
      const inside = ram.map(({ start, end }) => ({
        start: Math.max(start, base),
        end: Math.min(end, base + WINDOW_BYTES),
      })).filter(({ start, end }) => start < end);
      const last = Math.max(base + WINDOW_PAGES * pageSize(), ...inside.map(({ end }) => end));
      const window = this.node.map(last - base);
      this.#windows.push(window);
      for (const { start, end } of inside) {
        const address = window.address + BigInt(start - base);
        memory.push({ guest: start, address, length: end - start });
      }
    }
    return memory;
  }

  #chunks(ram: readonly RamRange[]): ChunkSource {
    return { fd: this.node.number, request: this.abi.requests.SHARE_BUF, ram };
  }

  get kept(): readonly number[] {
    return [this.node.number];
  }

  get mappings(): number {
    return 1 + this.#windows.length;
  }

  get maxQueueSetups(): number {
    return this.abi.maxQueueSetups;
  }

  start(identity: Identity): void {
    const { START_LOOPBACK } = this.abi.requests;
    this.node.ioctl(START_LOOPBACK, encodeIdentity(identity), "START_LOOPBACK");
  }

  close(): void {
    for (const window of this.#windows) window.close();
    this.#page?.close();
    this.node.close();
    this.#doorbell.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** EFD_INIT's argument: i32 efd[2], i32 pid; 12 bytes. */
export function encodeEfdInit(doorbell: number, pid: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(12));
  view.setInt32(0, doorbell, true);
  view.setInt32(4, -1, true);
  view.setInt32(8, pid, true);
  return new Uint8Array(view.buffer);
}

/** START_LOOPBACK's argument: u64 magic, version, device_id, vendor; 32 bytes. */
export function encodeIdentity(identity: Identity): Uint8Array<ArrayBuffer> {
  const { magic, version, deviceId, vendor } = identity;
  const words = BigUint64Array.of(BigInt(magic), BigInt(version), BigInt(deviceId), BigInt(vendor));
  return new Uint8Array(words.buffer);
}

/** An i32 or u32 argument. */
export function encodeInt(value: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, value, true);
  return new Uint8Array(view.buffer);
}
