// SPDX-License-Identifier: Apache-2.0
/**
 * A pseudoterminal as the end of a port, with a link to it by name.
 *
 * @module
 */
import { Epoll, EPOLLIN, OpenWatch, Pty, type Watch, windowSize } from "../../../ffi/mod.ts";
import { type DeviceHost, SpecError } from "../../device/role.ts";
import type { HostEnd } from "./host_end.ts";
import { rawFile, Stream } from "./stream.ts";
import type { TerminalSize } from "./wire.ts";

/** What it needs of its device. */
export type PtyHost = Pick<DeviceHost, "watch">;

/** Where pseudoterminals are. */
const PTS = /^\/dev\/pts\/\d+$/;

/** A name for a terminal. */
class Link implements Disposable {
  /** @throws {SpecError} when there is something else of that name */
  constructor(readonly path: string, readonly target: string) {
    const before = targetOf(path);
    if (before === target) return; // left by one that was killed, and had the same terminal
    if (before !== null && isStale(before)) Deno.removeSync(path);
    try {
      Deno.symlinkSync(target, path);
    } catch (cause) {
      throw new SpecError(`Cannot make link ${path} to a terminal: ${whyNot(path, cause)}`, {
        cause,
      });
    }
  }

  /** Removes it, unless another is there now. */
  [Symbol.dispose](): void {
    if (targetOf(this.path) === this.target) Deno.removeSync(this.path);
  }
}

/** Where a link leads; null when there is none. */
function targetOf(path: string): string | null {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return null;
  }
}

/** Whether a link leads to a terminal that is no more. */
function isStale(target: string): boolean {
  if (!PTS.test(target)) return false;
  try {
    Deno.lstatSync(target);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

function whyNot(path: string, cause: unknown): string {
  if (!(cause instanceof Deno.errors.AlreadyExists)) return (cause as Error).message;
  const target = targetOf(path);
  return target === null ? "there is a file of that name" : `it leads to ${target}; remove it`;
}

/** @throws {SpecError} when something is in the link's place that is not to be replaced, or its folder is not there */
export function checkLink(path: string): void {
  const refuse = (why: string, cause?: unknown): never => {
    throw new SpecError(`Cannot make link ${path} to a terminal: ${why}`, { cause });
  };
  const target = targetOf(path);
  if (target !== null) {
    if (!PTS.test(target)) refuse(`it leads to ${target}`);
    return; // whether that is ours is seen when the terminal is there
  }
  if (isThere(path)) refuse("there is a file of that name");
  const folder = path.slice(0, path.lastIndexOf("/") + 1) || ".";
  if (!isThere(folder)) refuse(`there is no folder ${folder}`);
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** See the module. */
export class PtyEnd implements HostEnd {
  readonly #pty: Pty;
  readonly #opens: OpenWatch;
  /** Tells at once whether a program has the other side open. */
  readonly #probe: Epoll;
  readonly #stream: Stream;
  readonly #all: Disposable;
  readonly place: string;
  /** A program has opened the other side since the last left. */
  #isOpened = false;
  isOpen = false;

  /**
   * @param link A name for it; absent: it has only that of the system
   * @throws {SpecError} when the link cannot be made
   * @throws {OsError} when there is no pseudoterminal to be had
   */
  constructor(host: PtyHost, link?: string) {
    using made = new DisposableStack();
    this.#pty = made.use(Pty.create());
    const { path, number } = this.#pty;
    this.#opens = made.use(OpenWatch.on(path));
    this.#probe = made.use(Epoll.create());
    this.#probe.add(number, EPOLLIN, 0);
    this.#stream = made.use(
      new Stream({ ...rawFile(this.#pty), close: () => {} }, (...args) => host.watch(...args)),
    );
    made.adopt(this.#watchOpens(host), (watch) => watch.close());
    if (link !== undefined) made.use(new Link(link, path));
    this.place = link === undefined ? `at ${path}` : `at ${link} (${path})`;
    this.#all = made.move();
  }

  #watchOpens(host: PtyHost): Watch {
    return host.watch(this.#opens.number, EPOLLIN, () => {
      if (this.#opens.take()) this.#isOpened = true;
    });
  }

  admit(): void {
    if (this.isOpen || !this.#isOpened) return;
    this.#isOpened = false;
    this.#stream.renew();
    this.isOpen = true;
  }

  read(buffer: Uint8Array<ArrayBuffer>): number {
    if (!this.isOpen) return 0;
    const count = this.#stream.read(buffer);
    const isReopened = count === 0 && this.#stream.isHungUp; // before the end was read
    if (this.#stream.isEnded || isReopened) this.#leave();
    return count;
  }

  /** The last program has closed the terminal. Whether one has opened it again meanwhile is not told twice: look. */
  #leave(): void {
    this.isOpen = false;
    this.#opens.take();
    this.#isOpened = this.#probe.wait(0) === 0 || (this.#probe.found[1]! & EPOLLIN) !== 0;
  }

  /** With no program there, the kernel would keep the bytes for the next. */
  write(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (!this.isOpen || this.#stream.isHungUp || this.#stream.isBroken) return length;
    return this.#stream.write(buffer, at, length);
  }

  forgetLeft(): void {
    const waste = new Uint8Array(4096);
    while (this.isOpen && this.#stream.isHungUp && this.read(waste) > 0);
  }

  size(): TerminalSize | null {
    return windowSize(this.#pty.number);
  }

  [Symbol.dispose](): void {
    this.#all[Symbol.dispose]();
  }
}
