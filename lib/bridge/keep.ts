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
  Fd,
  type OsError,
  osError,
  type Reactor,
  UnixListener,
  UnixSocket,
  type Watch,
} from "../../ffi/mod.ts";

/** Keeps copies of descriptors under a name. */
export interface Keep {
  /** Keeps copies of these, in place of what was kept under the name. @throws {OsError} */
  store(name: string, fds: readonly number[]): Promise<void>;
  /**
   * Copies of what is kept under the name, in the order in which they were given; none if nothing is.
   *
   * @throws {OsError} when another viola serves it
   */
  take(name: string): Promise<Fd[]>;
  /** Lets go of what is kept under the name; who serves it goes on. @returns whether there was anything @throws {OsError} */
  forget(name: string): Promise<boolean>;
  /** Ends this process's hold on all names: another may take what is kept. */
  close(): void;
}

/**
 * The keep of this process: systemd's if it says it has one, else that of the keeper process, which is started when there
 * is something to keep.
 *
 * @param start Starts a keeper process that listens at a path
 */
export function findKeep(reactor: Reactor, start: (path: string) => void): Keep {
  const notify = Deno.env.get("NOTIFY_SOCKET");
  return notify === undefined
    ? new ProcessKeep(keeperPath(), reactor, start)
    : new SystemdKeep(notify, inheritedFds());
}

// ---- systemd ----

/** Descriptors begin here in a process that systemd starts (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;

/** What systemd kept for this process, by name. */
function inheritedFds(): Map<string, Fd> {
  const [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
    .map((name) => Deno.env.get(name) ?? "");
  const fds = new Map<string, Fd>();
  if (Number(pid) !== Deno.pid) return fds;
  names!.split(":").slice(0, Number(count)).forEach((name, i) => {
    // Its copy is closed when a child is started, as the one that systemd made is not.
    using original = new Fd(LISTEN_FDS_START + i);
    fds.set(name, original.duplicate());
  });
  return fds;
}

/** systemd's descriptor store (sd_pid_notify_with_fds(3)). */
class SystemdKeep implements Keep {
  constructor(readonly socket: string, readonly inherited: Map<string, Fd>) {}

  async store(name: string, fds: readonly number[]): Promise<void> {
    await this.forget(name);
    // One message each: systemd does not promise to give descriptors of one name back in their order.
    fds.forEach((fd, i) => this.#send(`FDSTORE=1\nFDNAME=${fdName(name, i)}`, [fd]));
  }

  // deno-lint-ignore require-await -- as its interface wants it
  async take(name: string): Promise<Fd[]> {
    const fds: Fd[] = [];
    for (let fd; (fd = this.inherited.get(fdName(name, fds.length))) !== undefined;) fds.push(fd);
    for (let i = 0; i < fds.length; i++) this.inherited.delete(fdName(name, i));
    return fds;
  }

  // deno-lint-ignore require-await -- as its interface wants it
  async forget(name: string): Promise<boolean> {
    for (let i = 0; i < MAX_FDS; i++) this.#send(`FDSTOREREMOVE=1\nFDNAME=${fdName(name, i)}`, []);
    return this.inherited.has(fdName(name, 0));
  }

  /** systemd runs one process of a service at a time: there is nothing to let go. */
  close(): void {}

  #send(text: string, fds: readonly number[]): void {
    const bytes = new TextEncoder().encode(text);
    using socket = UnixSocket.datagram(this.socket);
    if (socket.send(bytes, 0, bytes.length, fds) === bytes.length) return;
    throw osError(`tell systemd at ${this.socket} what to keep`, "EAGAIN");
  }
}

/** A name that systemd takes: no colon, no control character, at most 255. */
function fdName(name: string, index: number): string {
  return `viola-${name.replace(/[^A-Za-z0-9_.-]/g, "_")}-${index}`.slice(-255);
}

// ---- a process of viola's own ----

/** The most descriptors under one name. */
const MAX_FDS = 16;
/** The most names. */
const MAX_NAMES = 64;
const MAX_MESSAGE = 1024;
/** How long a keeper may take to start, and to answer. */
const KEEPER_MS = 3000;

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

/** What a keeper answers: done; there was nothing to forget; the device is another's. */
const OK = "ok";
const NOTHING = "nothing is kept";
const IN_USE = "another viola serves it";

class ProcessKeep implements Keep {
  /** By name: the connection over which the device is ours, for as long as it is open. */
  readonly #leases = new Map<string, UnixSocket>();

  constructor(
    readonly path: string,
    readonly reactor: Reactor,
    readonly start: (path: string) => void,
  ) {}

  async store(name: string, fds: readonly number[]): Promise<void> {
    const lease = this.#leases.get(name) ?? this.#connect() ?? await this.#startAndConnect();
    this.#leases.set(name, lease);
    await this.#ask(lease, { do: "store", name }, fds);
  }

  async take(name: string): Promise<Fd[]> {
    for (const deadline = performance.now() + KEEPER_MS;;) {
      const socket = this.#connect();
      if (socket === null) return [];
      try {
        const { fds } = await this.#ask(socket, { do: "take", name }, []);
        this.#leases.set(name, socket);
        return fds;
      } catch (error) {
        socket.close();
        // A viola that was just killed may still have it for a moment.
        const isInUse = (error as OsError).code === "EBUSY";
        if (!isInUse || performance.now() > deadline) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async forget(name: string): Promise<boolean> {
    const lease = this.#leases.get(name);
    this.#leases.delete(name);
    using socket = lease ?? this.#connect();
    if (socket === null) return false;
    return (await this.#ask(socket, { do: "forget", name }, [])).text === OK;
  }

  close(): void {
    for (const lease of this.#leases.values()) lease.close();
    this.#leases.clear();
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
    const folder = folderOf(this.path);
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    checkPrivate(folder);
    this.start(this.path);
    for (const deadline = performance.now() + KEEPER_MS; performance.now() < deadline;) {
      const socket = this.#connect();
      if (socket !== null) return socket;
      await new Promise((resolve) => setTimeout(resolve, 20));
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
    await this.reactor.readable(socket, KEEPER_MS);
    const buffer = new Uint8Array(MAX_MESSAGE);
    const reply = socket.receive(buffer, 0, MAX_MESSAGE, MAX_FDS);
    const text = new TextDecoder().decode(buffer.subarray(0, Math.max(reply.length, 0)));
    if (text === OK || text === NOTHING) return { text, fds: reply.fds };
    for (const fd of reply.fds) fd.close();
    const what = text === "" ? "it says nothing" : text;
    throw osError(
      `${request.do} ${request.name} with the keeper at ${this.path} (${what})`,
      text === IN_USE ? "EBUSY" : "EPROTO",
    );
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
  readonly #kept = new Map<string, Fd[]>();
  readonly #owners = new Map<string, Client>();
  readonly #clients = new Set<Client>();

  /** @throws {OsError} EADDRINUSE when another keeper listens there */
  constructor(path: string, readonly reactor: Reactor) {
    this.#listener = UnixListener.listen(path);
    Deno.chmodSync(path, 0o600);
    reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
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
    this.#listener.close();
    for (const client of this.#clients) this.#part(client);
    for (const fds of this.#kept.values()) for (const fd of fds) fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
