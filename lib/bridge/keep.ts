// SPDX-License-Identifier: Apache-2.0
/**
 * Keeping descriptors while no viola runs, so that a device outlives the process that serves it: the AGL driver's node
 * must never be closed, and a successor needs the device's state.
 *
 * systemd does it for a service with `FileDescriptorStoreMax=`; elsewhere a small process of viola's own.
 *
 * @module
 */
import {
  EPOLLIN,
  EPOLLRDHUP,
  Fd,
  type OsError,
  osError,
  type Reactor,
  readSystemFile,
  UnixListener,
  UnixSocket,
  type Watch,
} from "../../ffi/mod.ts";
import { startStoreProcess } from "./store/start.ts";

/** Keeps copies of descriptors under a name, which is a loopback device's. */
export interface Keep {
  /**
   * Makes sure that there is something to keep descriptors with, and starts it if need be. To be called before the first
   * of them is opened: then nothing that was opened is closed again for want of it.
   *
   * @throws {Error}
   */
  prepare(): Promise<void>;
  /**
   * Keeps copies of these, in place of what was kept under the name.
   *
   * @param onLost Called once if what keeps them ends
   * @throws {Error}
   */
  store(name: string, fds: readonly number[], onLost: () => void): Promise<void>;
  /**
   * Copies of what is kept under the name, in the order in which they were given; none if nothing is.
   *
   * @param onLost Called once if what keeps them ends
   * @throws {OsError} when another viola serves it
   * @throws {Error} when not all is there
   */
  take(name: string, onLost: () => void): Promise<Fd[]>;
  /** Lets go of what is kept under the name; who serves it goes on. @returns whether there was anything @throws {OsError} */
  forget(name: string): Promise<boolean>;
  /** Who keeps this name's descriptors, in words; null when nobody does. */
  holder(name: string): string | null;
  /** What the user can do to have it let go of, as it continues a sentence in brackets. */
  wayOut(name: string): string;
  /** Ends this process's hold on all names: another may take what is kept. */
  close(): void;
}

/** Options of {@linkcode findKeep}: the process that keeps descriptors where systemd does not. */
export interface StoreProcessOptions {
  /** Where it listens. By default as README says. */
  path?: string | undefined;
  /**
   * Starts one that listens at this path, by posix_spawn: a fork would copy the mappings of a node. By default one that
   * runs from viola's source; an executable made by `deno compile` must bring its own.
   */
  start?: ((path: string) => void) | undefined;
}

/**
 * The keep of this process: systemd's if it says it has one, else that of a process, which is started when there is to be
 * something to keep.
 *
 * @throws {RangeError} when no process can listen where it should
 */
export function findKeep(
  reactor: Reactor,
  { path = keeperPath(), start = startStoreProcess }: StoreProcessOptions = {},
): Keep {
  const notify = Deno.env.get("NOTIFY_SOCKET");
  return notify === undefined
    ? new ProcessKeep(path, reactor, start)
    : new SystemdKeep(notify, inheritedFds());
}

/** How long a keep may take to answer, and to listen. */
const KEEP_MS = 3000;
/** How long a store process may take to start: on a busy machine that is long, and without one a node would be lost. */
const START_MS = 15_000;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// ---- systemd ----

/** Descriptors begin here in a process that systemd starts (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;
const O_CLOEXEC = 0o2000000;
/** Characters of a name at systemd at most. */
const MAX_FD_NAME = 255;

/** A descriptor that systemd kept for this process. */
interface Stored {
  fdName: string;
  fd: Fd;
}

/**
 * What systemd kept of viola's for this process, by the device's name as it stands in the descriptors' names. Whatever
 * else it passes is left alone: it is not ours.
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
    // Its copy is closed when a child is started, as the one that systemd made is not.
    using original = new Fd(number);
    const fd = original.duplicate();
    found.set(device, [...found.get(device) ?? [], { fdName, fd }]);
  });
  return found;
}

/** Whether a descriptor was passed to this process: its own are all to be closed at the next exec. */
function cameThroughExec(number: number): boolean {
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readSystemFile(`/proc/self/fdinfo/${number}`));
    return (parseInt(flags![1]!, 8) & O_CLOEXEC) === 0;
  } catch {
    return false; // there is none of that number
  }
}

/**
 * systemd's descriptor store (sd_pid_notify_with_fds(3)). It tells nobody what it has not kept, so each name says how many
 * belong together.
 */
class SystemdKeep implements Keep {
  /** By device: the names under which systemd has descriptors of it. */
  readonly #names = new Map<string, string[]>();
  /** Not yet taken, by device. */
  readonly #inherited: Map<string, Stored[]>;

  constructor(readonly socket: string, inherited: Map<string, Stored[]>) {
    this.#inherited = inherited;
    for (const [device, stored] of inherited) {
      this.#names.set(device, stored.map(({ fdName }) => fdName));
    }
  }

  /** systemd is there. */
  prepare(): Promise<void> {
    return Promise.resolve();
  }

  holder(name: string): string | null {
    return this.#names.has(encodeName(name)) ? "systemd" : null;
  }

  async store(name: string, fds: readonly number[]): Promise<void> {
    const device = encodeName(name);
    const names = fds.map((_, i) => `viola-${i + 1}of${fds.length}-${device}`);
    if (names.some(({ length }) => length > MAX_FD_NAME)) {
      throw new RangeError(`Cannot name ${name} to systemd: the name is too long`);
    }
    await this.forget(name);
    this.#checkRoom(names.length);
    this.#names.set(device, names);
    // One message each: systemd does not promise to give descriptors of one name back in their order. FDPOLL: one whose
    // other side is gone must come back too, or what is left is not understood.
    for (const [i, fd] of fds.entries()) {
      await this.#send(`FDSTORE=1\nFDPOLL=0\nFDNAME=${names[i]}`, [fd]);
    }
  }

  /** systemd from version 254 on says how many it keeps at most. @throws {RangeError} */
  #checkRoom(more: number): void {
    const most = Number(Deno.env.get("FDSTORE") ?? Infinity);
    const all = [...this.#names.values()].flat().length + more;
    if (all <= most) return;
    throw new RangeError(
      `systemd keeps ${most} descriptors of this service at most, expected ${all} or more ` +
        "(FileDescriptorStoreMax= in its unit)",
    );
  }

  // deno-lint-ignore require-await -- as its interface wants it
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
    if (isWhole) return fds;
    for (const fd of fds) fd.close();
    const kept = stored.map(({ fdName }) => FD_NAME.exec(fdName)!.groups!.place).join(", ");
    throw new RangeError(
      `Cannot take over ${name}: of its descriptors systemd kept ${kept}, expected all ` +
        `(is FileDescriptorStoreMax= in the unit too small? ${this.wayOut()})`,
    );
  }

  async forget(name: string): Promise<boolean> {
    const device = encodeName(name);
    const names = this.#names.get(device) ?? [];
    this.#names.delete(device);
    this.#drop(device);
    for (const fdName of names) await this.#send(`FDSTOREREMOVE=1\nFDNAME=${fdName}`, []);
    return names.length > 0;
  }

  wayOut(): string {
    return "systemd lets go of it when the service is stopped";
  }

  /** systemd runs one process of a service at a time: there is nothing to let go but copies. */
  close(): void {
    for (const device of this.#inherited.keys()) this.#drop(device);
  }

  #drop(device: string): void {
    for (const { fd } of this.#inherited.get(device) ?? []) fd.close();
    this.#inherited.delete(device);
  }

  async #send(text: string, fds: readonly number[]): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    using socket = UnixSocket.datagram(this.socket);
    for (const deadline = performance.now() + KEEP_MS; performance.now() < deadline;) {
      if (socket.send(bytes, 0, bytes.length, fds) === bytes.length) return;
      await pause(10); // its queue is full: it has as much to do as ten messages at least
    }
    throw osError(`tell systemd at ${this.socket} what to keep`, "EAGAIN");
  }
}

const FD_NAME = /^viola-(?<place>(?<number>\d+)of\d+)-(?<device>.+)$/;

function placeOf({ fdName }: Stored): number {
  return Number(FD_NAME.exec(fdName)!.groups!.number);
}

/** A device's name as systemd takes it, and no other's: printable ASCII without colons. */
function encodeName(name: string): string {
  const bytes = new TextEncoder().encode(name);
  return Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte);
    return /[!-$&-9;-~]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0")}`;
  }).join("");
}

// ---- a process of viola's own ----

/** The most descriptors under one name. */
const MAX_FDS = 16;
/** The most names. */
const MAX_NAMES = 64;
const MAX_MESSAGE = 1024;
/** Bytes of a Unix socket's path at most. */
const MAX_PATH = 107;

interface Request {
  do: "store" | "take" | "forget";
  name: string;
}

/** Where the keeper process listens: one per user, in a folder that only that user may write. */
export function keeperPath(): string {
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  const folder = Deno.uid() === 0 ? "/run/viola" : `${runtime ?? `/tmp/viola-${Deno.uid()}`}/viola`;
  return Deno.env.get("VIOLA_KEEPER") ?? `${folder}/keeper`;
}

/** @throws {RangeError} */
function checkLength(path: string): void {
  const { length } = new TextEncoder().encode(path);
  if (length <= MAX_PATH) return;
  throw new RangeError(
    `Cannot keep devices at ${path}: the path has ${length} bytes, expected at most ${MAX_PATH} ` +
      "(VIOLA_KEEPER sets it, else XDG_RUNTIME_DIR its beginning)",
  );
}

/** What a keeper answers: done; there was nothing to forget; the device is another's. */
const OK = "ok";
const NOTHING = "nothing is kept";
const IN_USE = "another viola serves it";

/** A connection to the keeper over which a device is ours, for as long as it is open. */
interface Lease {
  socket: UnixSocket;
  /** The device's descriptors are there, not only its name. */
  isStored: boolean;
  watch: Watch;
}

class ProcessKeep implements Keep {
  readonly #leases = new Map<string, Lease>();
  /** A keeper is being started: one for all devices. */
  #starting: Promise<void> | null = null;

  constructor(
    readonly path: string,
    readonly reactor: Reactor,
    readonly start: (path: string) => void,
  ) {
    checkLength(path);
  }

  async prepare(): Promise<void> {
    using _socket = this.#connect() ?? await this.#startAndConnect();
  }

  holder(name: string): string | null {
    const lease = this.#leases.get(name);
    if (lease?.isStored !== true) return null;
    return `the store process ${lease.socket.peer().pid} at ${this.path}`;
  }

  store(name: string, fds: readonly number[], onLost: () => void): Promise<void> {
    return this.#persist(async () => {
      const socket = this.#unlease(name) ?? this.#connect() ?? await this.#startAndConnect();
      await this.#leaseBy(socket, { do: "store", name }, fds, onLost);
    });
  }

  take(name: string, onLost: () => void): Promise<Fd[]> {
    return this.#persist(async () => {
      const socket = this.#connect();
      if (socket === null) return [];
      return await this.#leaseBy(socket, { do: "take", name }, [], onLost);
    });
  }

  /** Tries again what fails for a moment only: a viola that was just killed still has it, or the keeper itself is ending. */
  async #persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (const deadline = performance.now() + KEEP_MS;;) {
      try {
        return await attempt();
      } catch (error) {
        const isPassing = ["EBUSY", "ECONNRESET", "EPIPE"].includes((error as OsError).code);
        if (!isPassing || performance.now() > deadline) throw error;
      }
      await pause(50);
    }
  }

  async forget(name: string): Promise<boolean> {
    using socket = this.#unlease(name) ?? this.#connect();
    if (socket === null) return false;
    return (await this.#ask(socket, { do: "forget", name }, [])).text === OK;
  }

  wayOut(name: string): string {
    return `"viola forget ${name}" lets go of it`;
  }

  close(): void {
    for (const name of this.#leases.keys()) this.#unlease(name)!.close();
  }

  /** Makes a request, after which the device is ours. @returns the descriptors of the answer */
  async #leaseBy(
    socket: UnixSocket,
    request: Request,
    fds: readonly number[],
    onLost: () => void,
  ): Promise<Fd[]> {
    const { name } = request;
    const answer = await this.#ask(socket, request, fds).catch((error) => {
      socket.close();
      throw error;
    });
    const isStored = request.do === "store" || answer.fds.length > 0;
    const watch = this.reactor.watch(socket.number, EPOLLRDHUP, () => {
      this.#unlease(name)!.close();
      onLost();
    });
    this.#leases.set(name, { socket, isStored, watch });
    return answer.fds;
  }

  #unlease(name: string): UnixSocket | null {
    const lease = this.#leases.get(name);
    this.#leases.delete(name);
    lease?.watch.close();
    return lease?.socket ?? null;
  }

  /** null when no keeper runs. @throws {Error} when somebody else could have put it there */
  #connect(): UnixSocket | null {
    try {
      const socket = UnixSocket.connect(this.path);
      checkPrivate(folderOf(this.path));
      return socket;
    } catch (error) {
      if (["ENOENT", "ECONNREFUSED"].includes((error as OsError).code)) return null;
      throw error;
    }
  }

  async #startAndConnect(): Promise<UnixSocket> {
    this.#starting ??= this.#startKeeper().finally(() => this.#starting = null);
    await this.#starting;
    const socket = this.#connect();
    if (socket !== null) return socket;
    throw osError(`reach the keeper at ${this.path}`, "ECONNREFUSED");
  }

  /** Starts a keeper and waits until it listens. */
  async #startKeeper(): Promise<void> {
    const folder = folderOf(this.path);
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    checkPrivate(folder);
    this.start(this.path);
    for (const deadline = performance.now() + START_MS; performance.now() < deadline;) {
      using socket = this.#connect();
      if (socket !== null) return;
      await pause(20);
    }
    throw osError(`start a keeper at ${this.path}`, "ETIMEDOUT");
  }

  async #ask(
    socket: UnixSocket,
    request: Request,
    fds: readonly number[],
  ): Promise<{ text: string; fds: Fd[] }> {
    const bytes = new TextEncoder().encode(JSON.stringify(request));
    socket.send(bytes, 0, bytes.length, fds);
    await this.reactor.readable(socket, KEEP_MS);
    const buffer = new Uint8Array(MAX_MESSAGE);
    const reply = socket.receive(buffer, 0, MAX_MESSAGE, MAX_FDS);
    const text = new TextDecoder().decode(buffer.subarray(0, Math.max(reply.length, 0)));
    if (text === OK || text === NOTHING) return { text, fds: reply.fds };
    for (const fd of reply.fds) fd.close();
    const what = text === "" ? "it says nothing" : text;
    const code = text === IN_USE ? "EBUSY" : reply.length === 0 ? "ECONNRESET" : "EPROTO";
    throw osError(`${request.do} ${request.name} with the keeper at ${this.path} (${what})`, code);
  }
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}

/**
 * A folder in which nobody else could put a keeper of theirs.
 *
 * @throws {Error} naming whose it is
 */
function checkPrivate(folder: string): void {
  const { uid, mode } = Deno.statSync(folder);
  const isSticky = (mode! & 0o1000) !== 0;
  if (uid === Deno.uid() && (isSticky || (mode! & 0o022) === 0)) return;
  throw new Error(
    `Cannot keep devices in ${folder}: it belongs to user ${uid} with mode ${
      (mode! & 0o7777).toString(8)
    }, expected a folder of user ${Deno.uid()} that nobody else may write`,
  );
}

/** A connection to the keeper, and what it may be: a request is at most one at a time. */
interface Client {
  socket: UnixSocket;
  watch: Watch;
}

/**
 * The keeper process's work: holds descriptors by name, and hands copies out. Who took or stored a name has it until the
 * connection ends, so that no two processes serve one device.
 */
export class Keeper implements Disposable {
  readonly #listener: UnixListener;
  readonly #watch: Watch;
  readonly #kept = new Map<string, Fd[]>();
  readonly #owners = new Map<string, Client>();
  readonly #clients = new Set<Client>();

  /** @throws {OsError} EADDRINUSE when another keeper listens there */
  constructor(path: string, readonly reactor: Reactor) {
    // Of two that replace what a third left behind, one must not take the other's socket for it.
    using folder = Deno.openSync(folderOf(path));
    folder.lockSync(true);
    this.#listener = UnixListener.listen(path);
    Deno.chmodSync(path, 0o600);
    this.#watch = reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  #accept(): void {
    const socket = this.#listener.accept();
    if (socket === null) return;
    const watch = this.reactor.watch(socket.number, EPOLLIN, () => this.#turn(client));
    const client: Client = { socket, watch };
    this.#clients.add(client);
  }

  #turn(client: Client): void {
    try {
      if (this.#serve(client)) return;
    } catch { /* who asked is gone, or talks nonsense: nothing changed */ }
    this.#part(client);
  }

  /** @returns whether the client is still there */
  #serve(client: Client): boolean {
    const buffer = new Uint8Array(MAX_MESSAGE);
    const { length, fds } = client.socket.receive(buffer, 0, MAX_MESSAGE, MAX_FDS);
    if (length <= 0) return length !== 0;
    let reply = OK;
    let out: readonly Fd[] = [];
    try {
      const request = JSON.parse(new TextDecoder().decode(buffer.subarray(0, length))) as Request;
      if (request.do === "forget") reply = this.#forget(request.name) ? OK : NOTHING;
      else out = this.#obey(client, request, fds);
    } catch (error) {
      for (const fd of fds) fd.close();
      reply = (error as Error).message.slice(0, MAX_MESSAGE);
    }
    const bytes = new TextEncoder().encode(reply);
    client.socket.send(bytes, 0, bytes.length, out.map(({ number }) => number));
    return true;
  }

  #obey(client: Client, request: Request, fds: Fd[]): readonly Fd[] {
    const { name } = request;
    if (typeof name !== "string") throw new Error("a request without a name");
    const owner = this.#owners.get(name);
    if (owner !== undefined && owner !== client) throw new Error(IN_USE);
    if (request.do === "store") this.#store(name, fds.splice(0));
    this.#owners.set(name, client);
    return request.do === "take" ? this.#kept.get(name) ?? [] : [];
  }

  #store(name: string, fds: Fd[]): void {
    if (this.#kept.size >= MAX_NAMES && !this.#kept.has(name)) {
      for (const fd of fds) fd.close();
      throw new Error(`it keeps ${MAX_NAMES} devices already`);
    }
    this.#forget(name);
    this.#kept.set(name, fds);
  }

  #forget(name: string): boolean {
    for (const fd of this.#kept.get(name) ?? []) fd.close();
    return this.#kept.delete(name);
  }

  #part(client: Client): void {
    client.watch.close();
    client.socket.close();
    this.#clients.delete(client);
    for (const [name, owner] of this.#owners) if (owner === client) this.#owners.delete(name);
  }

  /** Lets go of everything: on the AGL driver the end of the devices. */
  close(): void {
    this.#watch.close();
    this.#listener.close();
    for (const client of this.#clients) this.#part(client);
    for (const fds of this.#kept.values()) for (const fd of fds) fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
