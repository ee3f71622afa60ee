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
} from "../../ffi/mod.ts";

/** Keeps copies of descriptors under a name. */
export interface Keep {
  /** Keeps copies of these, in place of what was kept under the name. @throws {OsError} */
  store(name: string, fds: readonly number[]): Promise<void>;
  /** Copies of what is kept under the name, in the order in which they were given; none if nothing is. @throws {OsError} */
  take(name: string): Promise<Fd[]>;
  /** Lets go of what is kept under the name. @throws {OsError} */
  forget(name: string): Promise<void>;
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
  async forget(name: string): Promise<void> {
    for (let i = 0; i < MAX_FDS; i++) this.#send(`FDSTOREREMOVE=1\nFDNAME=${fdName(name, i)}`, []);
  }

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

/** Makes a folder that nobody else may enter. @throws {Error} when somebody else made it, or may */
function ensurePrivate(folder: string): void {
  Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode, isDirectory } = Deno.lstatSync(folder);
  if (isDirectory && uid === Deno.uid() && (mode! & 0o022) === 0) return;
  throw new Error(
    `Cannot keep devices in ${folder}: it belongs to user ${uid} with mode ${
      (mode! & 0o777).toString(8)
    }, ` +
      `expected a folder of user ${Deno.uid()} that nobody else may write`,
  );
}

class ProcessKeep implements Keep {
  constructor(
    readonly path: string,
    readonly reactor: Reactor,
    readonly start: (path: string) => void,
  ) {}

  async store(name: string, fds: readonly number[]): Promise<void> {
    using socket = await this.#connect() ?? await this.#startAndConnect();
    await this.#ask(socket, { do: "store", name }, fds);
  }

  async take(name: string): Promise<Fd[]> {
    using socket = await this.#connect();
    return socket === null ? [] : await this.#ask(socket, { do: "take", name }, []);
  }

  async forget(name: string): Promise<void> {
    using socket = await this.#connect();
    if (socket !== null) await this.#ask(socket, { do: "forget", name }, []);
  }

  /** null when no keeper runs. */
  // deno-lint-ignore require-await -- so that a failure is a rejection
  async #connect(): Promise<UnixSocket | null> {
    try {
      return UnixSocket.connect(this.path);
    } catch (error) {
      if (["ENOENT", "ECONNREFUSED"].includes((error as OsError).code)) return null;
      throw error;
    }
  }

  async #startAndConnect(): Promise<UnixSocket> {
    ensurePrivate(this.path.slice(0, this.path.lastIndexOf("/")));
    this.start(this.path);
    for (const deadline = performance.now() + KEEPER_MS; performance.now() < deadline;) {
      const socket = await this.#connect();
      if (socket !== null) return socket;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw osError(`start a keeper at ${this.path}`, "ETIMEDOUT");
  }

  async #ask(socket: UnixSocket, request: Request, fds: readonly number[]): Promise<Fd[]> {
    const bytes = new TextEncoder().encode(JSON.stringify(request));
    socket.send(bytes, 0, bytes.length, fds);
    await this.reactor.readable(socket, KEEPER_MS);
    const buffer = new Uint8Array(MAX_MESSAGE);
    const reply = socket.receive(buffer, 0, MAX_MESSAGE, MAX_FDS);
    const text = new TextDecoder().decode(buffer.subarray(0, Math.max(reply.length, 0)));
    if (text === "ok") return reply.fds;
    for (const fd of reply.fds) fd.close();
    const what = text === "" ? "it says nothing" : text;
    throw osError(`${request.do} with the keeper at ${this.path}: ${what}`, "EPROTO");
  }
}

/** The keeper process's work: holds descriptors by name, and hands copies out. One request per connection. */
export class Keeper implements Disposable {
  readonly #listener: UnixListener;
  readonly #kept = new Map<string, Fd[]>();

  /** @throws {OsError} EADDRINUSE when another keeper listens there */
  constructor(path: string, readonly reactor: Reactor) {
    this.#listener = UnixListener.listen(path);
    Deno.chmodSync(path, 0o600);
    reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  #accept(): void {
    const socket = this.#listener.accept();
    if (socket === null) return;
    const watch = this.reactor.watch(socket.number, EPOLLIN, () => {
      watch.close();
      try {
        this.#serve(socket);
      } catch { /* who asked is gone, or talks nonsense: nothing changed */ }
      socket.close();
    });
  }

  #serve(socket: UnixSocket): void {
    const buffer = new Uint8Array(MAX_MESSAGE);
    const { length, fds } = socket.receive(buffer, 0, MAX_MESSAGE, MAX_FDS);
    let reply = "ok";
    let out: readonly Fd[] = [];
    try {
      const text = new TextDecoder().decode(buffer.subarray(0, Math.max(length, 0)));
      const request = JSON.parse(text) as Request;
      if (typeof request.name !== "string") throw new Error("a request without a name");
      out = this.#obey(request, fds.splice(0));
    } catch (error) {
      for (const fd of fds) fd.close();
      reply = (error as Error).message.slice(0, MAX_MESSAGE);
    }
    const bytes = new TextEncoder().encode(reply);
    socket.send(bytes, 0, bytes.length, out.map(({ number }) => number));
  }

  #obey(request: Request, fds: Fd[]): readonly Fd[] {
    const { name } = request;
    if (request.do === "take") return this.#kept.get(name) ?? [];
    if (request.do === "store" && this.#kept.size >= MAX_NAMES && !this.#kept.has(name)) {
      for (const fd of fds) fd.close();
      throw new Error(`it keeps ${MAX_NAMES} devices already`);
    }
    for (const fd of this.#kept.get(name) ?? []) fd.close();
    if (request.do === "store") this.#kept.set(name, fds);
    else this.#kept.delete(name);
    return [];
  }

  /** Lets go of everything: on the AGL driver the end of the devices. */
  close(): void {
    this.#listener.close();
    for (const fds of this.#kept.values()) for (const fd of fds) fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
