// SPDX-License-Identifier: Apache-2.0
/**
 * Binds Linux's driver to a device again after its probe failed. A driver gives up when no back-end answers during its
 * probe (virtio_snd after 1 s, with -110), although one may be there a moment later. The virtio bus probes again when the
 * device's name is written to its `drivers_probe`.
 *
 * A child process does the write, since it returns only after the probe, which needs this process to answer.
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

/** Waits before the attempts, in milliseconds; there are no further attempts. */
const DELAYS_MS = [1000, 2000, 4000, 8000, 16_000, 30_000];
/** After this time without a failure the attempts are counted from the first again, in milliseconds. */
const STABLE_MS = 60_000;
/** Deadline for a driver's first probe, in milliseconds. */
const UNPROBED_MS = 5000;

/** How long to wait for a killed child that is inside a probe, in milliseconds. */
const CHILD_MS = 500;

/** Options of {@linkcode Rebind}. */
export interface RebindOptions {
  /** The node, such as `/dev/loopback-238`. */
  readonly node: string;
  /** Virtio device id and vendor id that the node's device has. */
  readonly deviceId: number;
  readonly vendorId: number;
  readonly reactor: Reactor;
  /** Whether the device can be probed again. */
  canProbe(): boolean;
  /** Called with a text for each attempt, or the reason why there is none. */
  report(text: string): void;
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
  /** An attempt is due and waits for a back-end. */
  #due = false;
  #isBackEndConnected = false;
  #hasFailed = false;
  #child: Child | null = null;
  #watch: Watch | null = null;

  constructor(options: RebindOptions) {
    this.#options = options;
    this.#delaysMs = options.delaysMs ?? DELAYS_MS;
  }

  /** The device was announced: reports if no driver probes it in time. */
  started(): void {
    this.#timer = setTimeout(
      () => this.#report("no Linux driver has taken the device yet (is its module loaded?)"),
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

  /** Schedules the next attempt after a failed probe. */
  #schedule(): void {
    const now = performance.now();
    if (now - this.#lastMs > STABLE_MS) this.#attempts = 0;
    this.#lastMs = now;
    const delay = this.#delaysMs[this.#attempts++];
    const count = this.#delaysMs.length;
    if (delay === undefined) {
      return this.#report(
        `the driver's probe failed ${count + 1} times, giving up ` +
          `(to bind it by hand, write the device's name to ${
            busOf(this.#options.sysfs)
          }/drivers_probe)`,
      );
    }
    this.#report(
      `the driver's probe failed, binding it again in ${delay / 1000} s ` +
        `(attempt ${this.#attempts} of ${count})`,
    );
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#due = true;
      this.#attempt();
    }, delay);
  }

  /** Whether a back-end is connected; without one a probe would fail again. */
  set isBackEndConnected(value: boolean) {
    this.#isBackEndConnected = value;
    this.#attempt();
  }

  #attempt(): void {
    if (!this.#due || !this.#isBackEndConnected || this.#child !== null) return;
    this.#due = false;
    try {
      this.#bind(findUnbound(this.#options));
    } catch (error) {
      if (!OsError.is(error)) throw error;
      this.#report(`cannot bind the driver again: ${error.message}`);
    }
  }

  #bind(name: string | null): void {
    const { reactor, sysfs } = this.#options;
    if (name === null) {
      return this.#report(
        "no need to bind the driver again: it is bound already, or the device is gone",
      );
    }
    const file = `${busOf(sysfs)}/drivers_probe`;
    const child = this.#child = Child.spawn(`echo ${name} 2>/dev/null >'${file}'`, null, null);
    this.#watch = reactor.watch(child.fd.number, EPOLLIN, () => {
      const status = child.status();
      if (status === null) return;
      this.#reap();
      if (status !== 0) {
        this.#report(`cannot bind the driver again: writing ${name} to ${file} failed`);
      }
      this.#attempt();
    });
  }

  #reap(): void {
    this.#watch?.close();
    this.#child?.close(CHILD_MS);
    this.#watch = this.#child = null;
  }

  #report(text: string): void {
    this.#options.report(`${this.#options.node}: ${text}`);
  }

  /** Stops, including an attempt in progress. */
  close(): void {
    clearTimeout(this.#timer);
    this.#due = false;
    this.#reap();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function busOf(sysfs = "/sys"): string {
  return `${sysfs}/bus/virtio`;
}

/**
 * The name on the bus of the node's virtio device, if no driver is bound to it; else null. The node is found through the
 * uevent of the device's parents; if that names none, by device and vendor id, which only viola uses.
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
    if (OsError.is(error)) return null;
    throw error;
  }
}
