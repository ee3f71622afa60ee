// SPDX-License-Identifier: Apache-2.0
/**
 * A service manager with a descriptor store, as systemd has one: sd_notify(3), sd_listen_fds(3) and
 * FileDescriptorStoreMax= of systemd.service(5).
 *
 * @module
 */
import {
  EPOLLIN,
  type Fd,
  Reactor,
  UnixListener,
  UnixSocket,
  type Watch,
  WOULD_BLOCK,
} from "../../ffi/mod.ts";
import { Process, run, type TempFolder, until } from "./process.ts";

/** What is kept under a name. */
export interface StoredFd {
  name: string;
  fd: Fd;
  /** Whether it is dropped when its other side is gone. */
  watch: Watch | null;
}

/** Options of {@linkcode ServiceManager.create}. */
export interface ServiceManagerOptions {
  /** FileDescriptorStoreMax=. @default {16} */
  most?: number;
  /** Whether it says so in $FDSTORE, as systemd does from version 254 on. @default {false} */
  saysMost?: boolean;
  /** An abstract address instead of a socket in the folder. @default {false} */
  abstract?: boolean;
}

/** Options of {@linkcode ServiceManager.start}. */
export interface ServiceOptions {
  env?: Record<string, string>;
  /** What is passed instead of what is stored. */
  fds?: readonly Fd[];
}

/** Keeps descriptors for the one service that it starts, again and again. */
export class ServiceManager implements AsyncDisposable {
  /** In the order in which the service is given them: what came last is first. */
  readonly stored: StoredFd[] = [];
  /** Messages that asked for what systemd would not do, or not understand. */
  readonly refused: string[] = [];
  readonly #reactor = new Reactor();
  readonly #socket: UnixSocket;

  private constructor(
    readonly folder: TempFolder,
    readonly launcher: string,
    readonly address: string,
    readonly options: ServiceManagerOptions,
  ) {
    this.#socket = UnixSocket.datagramAt(address);
    this.#reactor.watch(this.#socket.number, EPOLLIN, () => this.#read());
  }

  /** @param folder Where its files are */
  static async create(
    folder: TempFolder,
    options: ServiceManagerOptions = {},
  ): Promise<ServiceManager> {
    const launcher = folder.file("with_fds");
    const source = new URL("./with_fds.c", import.meta.url).pathname;
    const cc = Deno.env.get("HOSTCC") ?? "cc";
    await run(cc, ["-Wall", "-Werror", "-O1", "-o", launcher, source]);
    const address = options.abstract === true ? `@${launcher}` : folder.file("notify");
    return new ServiceManager(folder, launcher, address, options);
  }

  #read(): void {
    const buffer = new Uint8Array(4096);
    while (true) {
      const { length, fds } = this.#socket.receive(buffer, 0, buffer.length);
      if (length === WOULD_BLOCK) return;
      const text = new TextDecoder().decode(buffer.subarray(0, length));
      this.#obey(
        new Map(text.split("\n").map((line) => line.split("=", 2) as [string, string])),
        fds,
      );
    }
  }

  #obey(message: Map<string, string>, fds: Fd[]): void {
    const name = message.get("FDNAME") ?? "stored";
    const isName = /^[ -9;-~]{1,255}$/.test(name);
    if (!isName) this.refused.push(`the name "${name}"`);
    else if (message.get("FDSTOREREMOVE") === "1") this.#remove(({ name: its }) => its === name);
    else if (message.get("FDSTORE") === "1" && fds.length > 0) {
      for (const fd of fds.splice(0)) this.#keep(name, fd, message.get("FDPOLL") !== "0");
    } else this.refused.push(JSON.stringify([...message]));
    for (const fd of fds) fd.close();
  }

  #keep(name: string, fd: Fd, polls: boolean): void {
    if (this.stored.length >= (this.options.most ?? 16)) {
      this.refused.push(`${name}: the store is full`);
      return fd.close();
    }
    const kept: StoredFd = { name, fd, watch: null };
    this.stored.unshift(kept);
    if (!polls) return;
    try {
      kept.watch = this.#reactor.watch(fd.number, 0, () => this.#remove((one) => one === kept));
    } catch { /* a file: there is no other side */ }
  }

  #remove(which: (stored: StoredFd) => boolean): void {
    for (const kept of this.stored.filter(which)) {
      kept.watch?.close();
      kept.fd.close();
      this.stored.splice(this.stored.indexOf(kept), 1);
    }
  }

  /** Starts the service with all that is stored. */
  async start(program: string, args: string[], options: ServiceOptions = {}): Promise<Process> {
    const fds = options.fds ?? this.stored.map(({ fd }) => fd);
    const path = this.folder.file("pass");
    using listener = UnixListener.listen(path);
    const listens = fds.length > 0
      ? {
        LISTEN_FDS: `${fds.length}`,
        LISTEN_FDNAMES: this.stored.map(({ name }) => name).join(":"),
      }
      : {};
    const limit = this.options.saysMost === true ? { FDSTORE: `${this.options.most}` } : {};
    const env = { NOTIFY_SOCKET: this.address, ...listens, ...limit, ...options.env };
    const process = Process.start(this.launcher, [path, program, ...args], { env });
    using socket = (await process.until(() => listener.accept(), "the launcher"))!;
    socket.send(new Uint8Array(1), 0, 1, fds.map(({ number }) => number));
    await process.until(
      () => Deno.readLinkSync(`/proc/${process.pid}/exe`) !== this.launcher,
      "the program to be run",
    );
    return process;
  }

  /** Waits until so many descriptors are stored. */
  async keeps(count: number): Promise<void> {
    await until(() => this.stored.length === count, `${count} stored descriptors`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#remove(() => true);
    await this.#reactor.close();
    this.#socket.close();
  }
}
