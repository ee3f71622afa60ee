// SPDX-License-Identifier: Apache-2.0
/**
 * Binds Linux's driver to a device again after its probe failed. A driver that waits in vain for a back-end gives up for
 * good (virtio_snd after 1 s, with -110), although the back-end may be there a moment later; the virtio bus probes again
 * when a device's name is written to its `drivers_probe`.
 *
 * A child process writes it, as the write returns only when the probe has ended, and that needs this process.
 *
 * @module
 */
import {
  Child,
  EPOLLIN,
  listSystemFolder,
  OsError,
  type Reactor,
  readSystemFile,
  readSystemLink,
  type Watch,
} from "../../ffi/mod.ts";
import { STATUS_DRIVER, STATUS_FAILED } from "../virtio/state.ts";

/** Waits before the attempts, in milliseconds. After the last there is none. */
const DELAYS_MS = [1000, 2000, 4000, 8000, 16_000, 30_000];
/** A driver that was bound for so long before it failed begins with the first attempt again, in milliseconds. */
const SETTLED_MS = 60_000;
/** How long a driver may take for its first probe, in milliseconds. */
const UNPROBED_MS = 5000;

/** How long a child in the middle of a probe may take to end when it is killed, in milliseconds. */
const CHILD_MS = 500;

/** What {@linkcode Rebind} needs. */
export interface RebindOptions {
  /** The node, such as `/dev/loopback-238`. */
  readonly node: string;
  /** Virtio device id and vendor id that the node's device has. */
  readonly deviceId: number;
  readonly vendorId: number;
  readonly reactor: Reactor;
  /** Whether another probe would be let through. */
  canProbe(): boolean;
  /** Told of each attempt, and why there is none. */
  tell(text: string): void;
  /** Where sysfs and the nodes are, for tests. */
  readonly sysfs?: string;
  readonly delaysMs?: readonly number[];
}

/** See the module. */
export class Rebind implements Disposable {
  readonly #options: RebindOptions;
  readonly #delaysMs: readonly number[];
  #attempts = 0;
  #lastMs = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** An attempt is due, and waits for a back-end. */
  #due = false;
  #isBackEndThere = false;
  #hasFailed = false;
  #child: Child | null = null;
  #watch: Watch | null = null;

  constructor(options: RebindOptions) {
    this.#options = options;
    this.#delaysMs = options.delaysMs ?? DELAYS_MS;
  }

  /** The driver may probe from now on: says so if none does. */
  started(): void {
    this.#timer = setTimeout(
      () => this.#say("no Linux driver has taken the device yet (is its module loaded?)"),
      UNPROBED_MS,
    );
  }

  /** The device status has changed; 0 after a reset. */
  statusChanged(status: number): void {
    if ((status & STATUS_DRIVER) !== 0) clearTimeout(this.#timer);
    const hadFailed = this.#hasFailed;
    this.#hasFailed = (status & STATUS_FAILED) !== 0;
    if (this.#hasFailed && !hadFailed && this.#options.canProbe()) this.#schedule();
  }

  /** The driver has given the device up. */
  #schedule(): void {
    const now = performance.now();
    if (now - this.#lastMs > SETTLED_MS) this.#attempts = 0;
    this.#lastMs = now;
    const delay = this.#delaysMs[this.#attempts++];
    const count = this.#delaysMs.length;
    if (delay === undefined) {
      return this.#say(
        `its driver's probe failed ${count + 1} times, the driver is not bound again ` +
          `(by hand: write the device's name to ${busOf(this.#options.sysfs)}/drivers_probe)`,
      );
    }
    this.#say(
      `its driver's probe failed, the driver is bound again in ${delay / 1000} s ` +
        `(attempt ${this.#attempts} of ${count})`,
    );
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#due = true;
      this.#attempt();
    }, delay);
  }

  /** Whether a back-end is there: without one a probe would fail again. */
  set isBackEndThere(value: boolean) {
    this.#isBackEndThere = value;
    this.#attempt();
  }

  #attempt(): void {
    if (!this.#due || !this.#isBackEndThere || this.#child !== null) return;
    this.#due = false;
    try {
      this.#bind(findUnbound(this.#options));
    } catch (error) {
      if (!(error instanceof OsError)) throw error;
      this.#say(`its driver is not bound again: ${error.message}`);
    }
  }

  #bind(name: string | null): void {
    const { reactor, sysfs } = this.#options;
    if (name === null) return this.#say("its driver is bound already, or its device is gone");
    const file = `${busOf(sysfs)}/drivers_probe`;
    const child = this.#child = Child.spawn(`echo ${name} 2>/dev/null >'${file}'`, null, null);
    this.#watch = reactor.watch(child.fd.number, EPOLLIN, () => {
      const status = child.status();
      if (status === null) return;
      this.#letGo();
      if (status !== 0) this.#say(`Cannot bind its driver again: cannot write ${name} to ${file}`);
      this.#attempt();
    });
  }

  #letGo(): void {
    this.#watch?.close();
    this.#child?.close(CHILD_MS);
    this.#watch = this.#child = null;
  }

  #say(text: string): void {
    this.#options.tell(`${this.#options.node}: ${text}`);
  }

  /** Ends it, an attempt that is under way too. */
  close(): void {
    clearTimeout(this.#timer);
    this.#due = false;
    this.#letGo();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function busOf(sysfs = "/sys"): string {
  return `${sysfs}/bus/virtio`;
}

/**
 * The virtio device of a node that no driver has, by its name on the bus; null if there is none. Where the device's
 * parents tell the node's number, that decides; else the ids must, which are viola's own.
 *
 * @throws {OsError} when sysfs cannot be read
 */
function findUnbound({ node, deviceId, vendorId, sysfs }: RebindOptions): string | null {
  const folder = `${busOf(sysfs)}/devices`;
  const unbound = listSystemFolder(folder).filter((name) => {
    const device = `${folder}/${name}`;
    const driver = unlessAbsent(() => readSystemLink(`${device}/driver`));
    return /^virtio\d+$/.test(name) && driver === null &&
      readId(`${device}/device`) === deviceId && readId(`${device}/vendor`) === vendorId;
  });
  const owned = unbound.find((name) => nodeOf(`${folder}/${name}`) === node);
  return owned ?? unbound.find((name) => nodeOf(`${folder}/${name}`) === null) ?? null;
}

function readId(path: string): number {
  return Number(readSystemFile(path).trim());
}

/** The node that a virtio device belongs to, by the uevent of its parents; null when they name none. */
function nodeOf(device: string): string | null {
  for (const parent of [`${device}/..`, `${device}/../..`]) {
    const uevent = unlessAbsent(() => readSystemFile(`${parent}/uevent`)) ?? "";
    const name = /^DEVNAME=(.+)$/m.exec(uevent)?.[1];
    if (name !== undefined) return `/dev/${name}`;
  }
  return null;
}

function unlessAbsent<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof OsError) return null;
    throw error;
  }
}
