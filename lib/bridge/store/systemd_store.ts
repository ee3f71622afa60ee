// SPDX-License-Identifier: Apache-2.0
/**
 * systemd's descriptor store (sd_pid_notify_with_fds(3), sd_listen_fds(3)). systemd does not report descriptors that it
 * dropped, so each name contains how many belong together.
 *
 * @module
 */
import { Fd, readSystemFile } from "../../../ffi/mod.ts";
import type { DescriptorStore } from "./descriptor_store.ts";
import { notifySystemd } from "./notify.ts";

/** The first descriptor passed to a process that systemd starts (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;
const O_CLOEXEC = 0o2000000;
/** The most characters of a name that systemd accepts. */
const MAX_FD_NAME = 255;

/** A descriptor that systemd held for this process. */
interface Stored {
  readonly fdName: string;
  readonly fd: Fd;
}

/** See the module. */
export class SystemdStore implements DescriptorStore {
  /** By device: the names of its descriptors at systemd. */
  readonly #names = new Map<string, string[]>();
  /** By device: numbers of the descriptors that were taken, which systemd still holds. */ readonly #taken =
    new Map<string, readonly number[]>();
  /** By device: descriptors passed by systemd and not taken yet. */
  readonly #inherited: Map<string, Stored[]> = inheritedFds();

  /** @param socket systemd's socket, `$NOTIFY_SOCKET` */
  constructor(readonly socket: string) {
    for (const [device, stored] of this.#inherited) {
      this.#names.set(device, stored.map(({ fdName }) => fdName));
    }
  }

  /** Nothing to do: systemd is always running. */
  prepare(): Promise<void> {
    return Promise.resolve();
  }

  // deno-lint-ignore require-await -- the interface is asynchronous
  async take(name: string): Promise<Fd[]> {
    const device = encodeName(name);
    const stored = this.#inherited.get(device) ?? [];
    this.#inherited.delete(device);
    stored.sort((a, b) => placeOf(a) - placeOf(b));
    const count = stored.length;
    const isWhole = stored.every(({ fdName }, i) =>
      fdName === `viola-${i + 1}of${count}-${device}`
    );
    const fds = stored.map(({ fd }) => fd);
    if (isWhole) {
      this.#taken.set(device, fds.map(({ number }) => number));
      return fds;
    }
    for (const fd of fds) fd.close();
    const held = stored.map(({ fdName }) => FD_NAME.exec(fdName)!.groups!.place).join(", ");
    throw new RangeError(
      `Cannot restore ${name}: of its descriptors systemd held ${held}, expected all ` +
        `(raise FileDescriptorStoreMax= in the unit if it is too small; ${this.howToRemove()})`,
    );
  }

  async put(name: string, fds: readonly number[], report: (text: string) => void): Promise<void> {
    try {
      await this.#put(name, fds);
    } catch (error) {
      report(`Cannot store the descriptors of ${name}: ${(error as Error).message}`);
    }
  }

  async #put(name: string, fds: readonly number[]): Promise<void> {
    const device = encodeName(name);
    const names = fds.map((_, i) => `viola-${i + 1}of${fds.length}-${device}`);
    if (names.some(({ length }) => length > MAX_FD_NAME)) {
      throw new RangeError(
        `Cannot put ${name} into systemd's descriptor store: the name is too long`,
      );
    }
    const taken = this.#taken.get(device) ?? [];
    if (taken.length === fds.length && taken.every((fd, i) => fd === fds[i])) return;
    await this.remove(name);
    this.#checkRoom(names.length);
    this.#names.set(device, names);
    // One message each, as systemd does not promise to return descriptors of one name in order. FDPOLL=0: systemd must not
    // drop a descriptor whose peer has closed, or the set would be incomplete.
    for (const [i, fd] of fds.entries()) {
      await this.#send(`FDSTORE=1\nFDPOLL=0\nFDNAME=${names[i]}`, [fd]);
    }
  }

  /** Checks the limit that systemd reports from version 254 on. @throws {RangeError} */
  #checkRoom(more: number): void {
    const most = Number(Deno.env.get("FDSTORE") ?? Infinity);
    const all = [...this.#names.values()].flat().length + more;
    if (all <= most) return;
    throw new RangeError(
      `systemd holds ${most} descriptors of this service at most, expected ${all} or more ` +
        "(FileDescriptorStoreMax= in its unit)",
    );
  }

  async remove(name: string): Promise<boolean> {
    const device = encodeName(name);
    const names = this.#names.get(device) ?? [];
    this.#names.delete(device);
    this.#taken.delete(device);
    this.#drop(device);
    for (const fdName of names) await this.#send(`FDSTOREREMOVE=1\nFDNAME=${fdName}`, []);
    return names.length > 0;
  }

  release(name: string): Promise<string | null> {
    return Promise.resolve(this.#names.has(encodeName(name)) ? "systemd" : null);
  }

  howToRemove(): string {
    return "systemd releases it when the service is stopped";
  }

  /** systemd runs one process of a service at a time, so there is no claim to give up: only copies are closed. */
  close(): void {
    for (const device of [...this.#inherited.keys()]) this.#drop(device);
  }

  #drop(device: string): void {
    for (const { fd } of this.#inherited.get(device) ?? []) fd.close();
    this.#inherited.delete(device);
  }

  #send(text: string, fds: readonly number[]): Promise<void> {
    return notifySystemd(this.socket, text, fds);
  }
}

/**
 * viola's descriptors that systemd passed to this process, by the device's name in the descriptors' names. Other
 * descriptors are left alone.
 */
function inheritedFds(): Map<string, Stored[]> {
  const [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
    .map((name) => Deno.env.get(name) ?? "");
  const found = new Map<string, Stored[]>();
  if (Number(pid) !== Deno.pid) return found;
  names!.split(":").forEach((fdName, i) => {
    const number = LISTEN_FDS_START + i;
    const device = FD_NAME.exec(fdName)?.groups?.device;
    if (device === undefined || !(i < Number(count)) || !cameThroughExec(number)) return;
    // The copy is close-on-exec, unlike the descriptor that systemd passed.
    using original = new Fd(number);
    const fd = original.duplicate();
    found.set(device, [...found.get(device) ?? [], { fdName, fd }]);
  });
  return found;
}

/** Whether a descriptor was passed by systemd: all of this process's own are close-on-exec. */
function cameThroughExec(number: number): boolean {
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readSystemFile(`/proc/self/fdinfo/${number}`));
    return (parseInt(flags![1]!, 8) & O_CLOEXEC) === 0;
  } catch {
    return false; // no such descriptor
  }
}

const FD_NAME = /^viola-(?<place>(?<number>\d+)of\d+)-(?<device>.+)$/;

function placeOf({ fdName }: Stored): number {
  return Number(FD_NAME.exec(fdName)!.groups!.number);
}

/** Encodes a device's name uniquely in the characters that systemd accepts: printable ASCII without colons. */
function encodeName(name: string): string {
  const bytes = new TextEncoder().encode(name);
  return Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte);
    return /[!-$&-9;-~]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0")}`;
  }).join("");
}
