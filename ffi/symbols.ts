// SPDX-License-Identifier: Apache-2.0
/**
 * The shim's symbol table, and the shim itself, which is built when its source has changed.
 *
 * @module
 */
import { asset } from "./assets.ts";

/** Every function of `shim.c`, in its order, each parameter with its C text. */
const SYMBOLS = {
  viola_open: { parameters: ["buffer", /* const char *path */ "i32" /* flags */], result: "i32" },
  /** The same, in a thread of its own: for what may take its time. */
  viola_close_async: {
    name: "viola_close",
    parameters: ["i32" /* fd */],
    result: "i32",
    nonblocking: true,
  },
  viola_close: { parameters: ["i32" /* fd */], result: "i32" },
  viola_dup: { parameters: ["i32" /* fd */], result: "i32" },
  viola_read: {
    parameters: ["i32", "buffer", "u32", /* offset */ "u32" /* length */],
    result: "i32",
  },
  viola_write: {
    parameters: ["i32", "buffer", "u32", /* offset */ "u32" /* length */],
    result: "i32",
  },
  viola_flock: { parameters: ["i32"], result: "i32" },
  viola_readlink: {
    parameters: ["buffer", /* const char *path */ "buffer", "u32" /* length */],
    result: "i32",
  },
  viola_getdents: { parameters: ["i32", "buffer", "u32" /* length */], result: "i32" },
  viola_size: { parameters: ["i32" /* fd */], result: "f64" },
  viola_ioctl: {
    parameters: ["i32", /* fd */ "u32", /* request */ "buffer" /* void *argument */],
    result: "i32",
  },
  viola_pipe: { parameters: ["buffer" /* int32_t fds[2] */], result: "i32" },
  viola_set_nonblocking: { parameters: ["i32", /* fd */ "i32" /* on */], result: "i32" },
  viola_eventfd: { parameters: ["u32", /* initial */ "i32" /* nonblocking */], result: "i32" },
  viola_eventfd_signal: { parameters: ["i32"], result: "i32" },
  viola_eventfd_take: { parameters: ["i32"], result: "i32" },
  viola_aio_setup: { parameters: [], result: "f64" },
  viola_aio_destroy: { parameters: ["f64" /* context */], result: "i32" },
  viola_aio_signal: {
    parameters: ["f64", /* context */ "i32", /* null */ "i32" /* fd */],
    result: "i32",
  },
  viola_timerfd: { parameters: [], result: "i32" },
  viola_timerfd_set: { parameters: ["i32", "f64" /* ns */], result: "i32" },
  viola_monotonic_ns: { parameters: [], result: "f64" },
  viola_memfd: { parameters: ["buffer", /* const char *name */ "f64" /* size */], result: "i32" },
  viola_mmap: {
    parameters: ["i32", /* fd */ "f64", /* length */ "f64" /* offset */],
    result: "i64",
  },
  viola_munmap: { parameters: ["u64", /* address */ "f64" /* length */], result: "i32" },
  viola_seals: { parameters: ["i32" /* fd */], result: "i32" },
  viola_file_page_size: { parameters: ["i32" /* fd */], result: "i32" },
  viola_page_size: { parameters: [], result: "i32" },
  viola_epoll: { parameters: [], result: "i32" },
  viola_epoll_ctl: {
    parameters: ["i32", /* epoll */ "i32", /* operation */ "i32", /* fd */ "u32", "u32" /* key */],
    result: "i32",
  },
  viola_epoll_wait: {
    parameters: ["i32", "buffer", /* uint32_t out[2 * max] */ "i32", /* max */ "i32" /* ms */],
    result: "i32",
  },
  /** The asynchronous form: a process can have at most 32 such calls waiting at once. */
  viola_epoll_wait_async: {
    name: "viola_epoll_wait",
    parameters: ["i32", "buffer", /* uint32_t out[2 * max] */ "i32", /* max */ "i32" /* ms */],
    result: "i32",
    nonblocking: true,
  },
  viola_unix_socket: { parameters: [], result: "i32" },
  viola_unix_datagram: { parameters: [], result: "i32" },
  viola_unix_connect: { parameters: ["i32", "buffer" /* const char *path */], result: "i32" },
  viola_fchmod: { parameters: ["i32", "u32" /* mode */], result: "i32" },
  viola_unix_bind: { parameters: ["i32", "buffer" /* const char *path */], result: "i32" },
  viola_unix_listen: { parameters: ["i32", "buffer" /* const char *path */], result: "i32" },
  viola_unix_accept: { parameters: ["i32"], result: "i32" },
  viola_unix_peer: { parameters: ["i32", "buffer" /* int32_t out[3] */], result: "i32" },
  viola_is_unix_stream: { parameters: ["i32" /* fd */], result: "i32" },
  viola_is_listening: { parameters: ["i32" /* fd */], result: "i32" },
  viola_unix_pair: { parameters: ["buffer" /* int32_t fds[2] */], result: "i32" },
  viola_unix_send: {
    parameters: ["i32", "buffer", "u32", "u32", "buffer", /* const int32_t *fds */ "u32"],
    result: "i32",
  },
  viola_shutdown: { parameters: ["i32" /* fd */], result: "i32" },
  viola_unix_receive: {
    parameters: ["i32", "buffer", "u32", "u32", "buffer", /* int32_t *fds */ "u32" /* max_fds */],
    result: "i32",
  },
  viola_pread: {
    parameters: ["i32", "buffer", "u32", /* at */ "u32", "f64", /* position */ "i32" /* flags */],
    result: "i32",
  },
  viola_pwrite: {
    parameters: ["i32", "buffer", "u32", /* at */ "u32", "f64", /* position */ "i32" /* flags */],
    result: "i32",
  },
  viola_fdatasync: { parameters: ["i32"], result: "i32" },
  viola_fallocate: {
    parameters: ["i32", "i32", /* mode */ "f64", /* position */ "f64" /* length */],
    result: "i32",
  },
  viola_file_mode: { parameters: ["i32"], result: "i32" },
  viola_can_socket: { parameters: [], result: "i32" },
  viola_can_bind: {
    parameters: ["i32", "i32", /* interface */ "u32" /* errors */],
    result: "i32",
    nonblocking: true,
  },
  viola_set_option: {
    parameters: ["i32", "i32", /* level */ "i32", /* option */ "i32" /* value */],
    result: "i32",
  },
  viola_receive_message: {
    parameters: ["i32", "buffer", "u32", /* length */ "buffer" /* uint32_t out[2] */],
    result: "i32",
  },
  viola_i2c_transfer: {
    parameters: ["i32", "buffer", /* uint16_t messages[3 * count] */ "u32", /* count */ "buffer"],
    result: "i32",
    nonblocking: true,
  },
  viola_i2c_smbus: {
    parameters: [
      "i32",
      "u32", /* address */
      "u32", /* read */
      "u32", /* command */
      "u32", /* size */
      "buffer", /* union i2c_smbus_data * */
    ],
    result: "i32",
    nonblocking: true,
  },
  viola_tcp_socket: { parameters: ["i32" /* family */], result: "i32" },
  viola_bind: { parameters: ["i32", "buffer", /* address */ "u32" /* length */], result: "i32" },
  viola_listen: { parameters: ["i32", "i32" /* backlog */], result: "i32" },
  viola_socket_name: {
    parameters: ["i32", "buffer", /* address */ "u32" /* length */],
    result: "i32",
  },
  viola_inotify: { parameters: [], result: "i32" },
  viola_inotify_watch: {
    parameters: ["i32", "buffer", /* const char *path */ "u32" /* mask */],
    result: "i32",
  },
  viola_thread_pin: { parameters: ["f64" /* mask */], result: "i32" },
  viola_thread_realtime: { parameters: ["i32" /* priority */], result: "i32" },
  viola_spawn: {
    parameters: ["buffer", /* const char *command */ "i32", "i32", "i32" /* session */],
    result: "i32",
  },
  viola_pidfd: { parameters: ["i32" /* pid */], result: "i32" },
  viola_reap: { parameters: ["i32" /* pid */], result: "i32" },
  viola_kill: { parameters: ["i32", /* pid */ "i32" /* signal */], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** FNV-1a, 32 bits: distinguishes versions of `shim.c`. */
function fingerprint(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** The URL of a file with an absolute path, whatever its folders are called. */
function toFileUrl(path: string): URL {
  return new URL(`file://${path.split("/").map(encodeURIComponent).join("/")}`);
}

/** A file URL's path, whatever its folders are called. */
function pathOf(file: URL): string {
  return decodeURIComponent(file.pathname);
}

/**
 * Compiles `shim.c` into `library`, through a temporary file so that two processes may do it at once.
 *
 * Uses `HOSTCC`, a compiler for this machine: in a cross-build `CC` is one for another.
 *
 * @throws {Error} when there is no C compiler, or it fails; the message says what to install.
 */
function build(source: URL, library: URL): void {
  const command = Deno.env.get("HOSTCC") || "cc";
  const [compiler, ...own] = command.trim().split(/\s+/) as [string, ...string[]];
  const partial = new URL(`${library.href}.${Deno.pid}`);
  const args = [...own, "-O2", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden"];
  let output: Deno.CommandOutput;
  try {
    output = new Deno.Command(compiler, {
      args: [...args, "-o", pathOf(partial), pathOf(source)],
      stderr: "piped",
    }).outputSync();
  } catch (cause) {
    throw new Error(
      `Cannot build ffi/shim.c: no C compiler "${command}" (apt-get install gcc libc6-dev, or set HOSTCC)`,
      { cause },
    );
  }
  if (!output.success) {
    throw new Error(
      `Cannot build ffi/shim.c with "${command}": ${
        new TextDecoder().decode(output.stderr).trim()
      }`,
    );
  }
  Deno.renameSync(partial, library);
}

/**
 * URL of the shim's library: built from `shim.c` once per state of it, beside that file or, where this user may not write there,
 * in the user's cache.
 *
 * @throws {Error} when it cannot be built, or others could have built the one in the cache
 */
function locate(): URL {
  const source = asset("ffi/shim.c");
  const name = `shim-${Deno.build.arch}-${fingerprint(Deno.readFileSync(source))}.so`;
  const beside = new URL(name, source);
  if (isThere(beside)) return beside;
  const library = mayWriteBeside(beside) ? beside : new URL(name, cacheFolder());
  if (!isThere(library)) build(source, library);
  return library;
}

function isThere(file: URL): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

function mayWriteBeside(file: URL): boolean {
  try {
    Deno.removeSync(Deno.makeTempFileSync({ dir: pathOf(new URL("./", file)) }));
    return true;
  } catch {
    return false;
  }
}

/** A folder in the user's cache that nobody else can write to. */
function cacheFolder(): URL {
  const home = Deno.env.get("HOME");
  const cache = Deno.env.get("XDG_CACHE_HOME") || (home && `${home}/.cache`);
  const advice = "run viola once as a user who may write to its ffi/ folder";
  if (!cache) throw new Error(`Cannot build ffi/shim.c: no HOME to build it in (${advice})`);
  const folder = `${cache}/viola/shim`;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const { message } = cause as Error;
    throw new Error(`Cannot build ffi/shim.c in ${folder}: ${message} (${advice})`, { cause });
  }
  const { uid, mode } = Deno.statSync(folder);
  if (uid !== Deno.uid() || (mode! & 0o022) !== 0) {
    throw new Error(`Cannot build ffi/shim.c in ${folder}: others may write to it (${advice})`);
  }
  return toFileUrl(`${folder}/`);
}

/** Folders to load the embedded shim from, the first of which will do: `TMPDIR`, and others where that is read-only or `noexec`. */
const FOLDERS = [undefined, "/run", "/var/tmp"];

/**
 * Loads the shim that is embedded in an executable, through a private folder that is removed at once: Deno itself would
 * write it to a predictable name in /tmp, where another user could put a file first.
 *
 * @throws {Error} when no folder will do
 */
function loadEmbedded(): Shim {
  const bytes = Deno.readFileSync(asset("ffi/shim.so"));
  const problems: string[] = [];
  for (const dir of FOLDERS) {
    try {
      return loadFrom(
        Deno.makeTempDirSync({ prefix: "viola-", ...(dir === undefined ? {} : { dir }) }),
        bytes,
      );
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  throw new Error(
    `Cannot load viola's native part (TMPDIR may name a folder to write to and execute from): ${
      problems.join("; ")
    }`,
  );
}

function loadFrom(folder: string, bytes: Uint8Array): Shim {
  const library = `${folder}/shim.so`;
  try {
    Deno.writeFileSync(library, bytes, { mode: 0o700, createNew: true });
    Deno.dlopen(library, {});
    return bindLater(library);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

type Shim = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/**
 * The functions of a loaded library, each bound at its first use: Deno compiles a stub for every function that it
 * binds, and all of them took half of an isolate's start. glibc finds a loaded library by the name it was
 * loaded under, even if that file no longer exists.
 */
function bindLater(library: string): Shim {
  const shim = {} as Shim;
  for (const name of Object.keys(SYMBOLS) as (keyof typeof SYMBOLS)[]) {
    Object.defineProperty(shim, name, {
      configurable: true,
      get() {
        const value = Deno.dlopen(library, { [name]: SYMBOLS[name] }).symbols[name];
        Object.defineProperty(shim, name, { value });
        return value;
      },
    });
  }
  return shim;
}

/** The shim's functions. Each isolate loads the library for itself, until it ends. */
export const shim: Shim = Deno.build.standalone
  ? loadEmbedded()
  : Deno.dlopen(locate(), SYMBOLS).symbols;
