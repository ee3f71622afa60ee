// SPDX-License-Identifier: Apache-2.0
/**
 * CPUs and scheduling of the calling thread, and child processes with descriptors of our choice.
 *
 * @module
 */
import { cString, osError, unwrap, WOULD_BLOCK } from "./errno.ts";
import { Epoll, EPOLLIN } from "./epoll.ts";
import { Fd } from "./fd.ts";
import { shim } from "./symbols.ts";

/** How many CPUs a mask in one number can name. */
const MAX_CPUS = 53;

/**
 * Binds the calling thread to these CPUs.
 *
 * @throws {RangeError} for one that is not in 0 to 52
 * @throws {OsError} EINVAL when none of them exists
 */
export function pinThread(cpus: readonly number[]): void {
  const bad = cpus.find((cpu) => !Number.isInteger(cpu) || cpu < 0 || cpu >= MAX_CPUS);
  if (bad !== undefined) {
    throw new RangeError(`Cannot pin a thread to CPU ${bad}, expected 0 to ${MAX_CPUS - 1}`);
  }
  const mask = [...new Set(cpus)].reduce((sum, cpu) => sum + 2 ** cpu, 0);
  unwrap(shim.viola_thread_pin(mask), `pin a thread to CPU ${cpus.join(", ")}`);
}

/** Gives the calling thread SCHED_FIFO at `priority` (1 to 99). @throws {OsError} EPERM without CAP_SYS_NICE */
export function makeRealtime(priority: number): void {
  unwrap(
    shim.viola_thread_realtime(priority),
    `give a thread real-time priority ${priority} (CAP_SYS_NICE or an rtprio limit is needed)`,
  );
}

/** Applies CPUs and priority to the calling thread where they are given. @throws {RangeError} @throws {OsError} */
export function placeThread(
  { cpus, realtime }: { cpus?: readonly number[] | undefined; realtime?: number | undefined },
): void {
  if (cpus !== undefined) pinThread(cpus);
  if (realtime !== undefined) makeRealtime(realtime);
}

const SIGKILL = 9;

/** Kills a command that cannot be watched, and reaps it. */
function abandon(pid: number): void {
  shim.viola_kill(-pid, SIGKILL);
  while (shim.viola_reap(pid) === WOULD_BLOCK); // killed already: some microseconds
}

/** How long the shell of {@linkcode startDetached} may take, in milliseconds. */
const SHELL_MS = 5000;

/**
 * Starts a program that outlives this process: in a session of its own, with /dev/null as standard input, output and
 * error, and not as a child of this process. Whether it started is not reported; the caller sees it by what it does.
 *
 * A fork would copy every mapping that is not MADV_DONTFORK, and AGL's driver breaks when a copy of a node's mapping
 * is closed. Here only the shell forks.
 *
 * @param command The program and its arguments
 * @throws {OsError} when the shell cannot be run, or does not end
 */
export function startDetached(command: readonly [string, ...string[]]): void {
  const words = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  // This process may have inherited open descriptors, such as a lock: the program would hold them for ever.
  const closed = [3, 4, 5, 6, 7, 8, 9].map((number) => `${number}>&-`).join(" ");
  const script = `${words} 2>/dev/null ${closed} &`;
  using shell = Child.spawn(script, null, null, { session: true });
  using ended = Epoll.create();
  ended.add(shell.fd.number, EPOLLIN, 0);
  const deadline = performance.now() + SHELL_MS;
  // Under a debugger a child that has ended may not be reapable for a moment.
  while (shell.status() === null) {
    const left = deadline - performance.now();
    if (left <= 0) throw osError(`start ${command[0]}`, "ETIMEDOUT");
    ended.wait(Math.ceil(left));
  }
}

/** A child process running a shell command, in a process group or a session of its own. */
export class Child implements Disposable {
  #pidfd: Fd;
  #status: number | null = null;

  private constructor(readonly pid: number, pidfd: Fd) {
    this.#pidfd = pidfd;
  }

  /**
   * Runs `sh -c command`.
   *
   * @param input Its standard input; null for /dev/null
   * @param output Its standard output; null for /dev/null
   * @param session In a session of its own, rather than in a process group of ours
   * @throws {OsError}
   */
  static spawn(
    command: string,
    input: Fd | null,
    output: Fd | null,
    { session = false } = {},
  ): Child {
    const [from, to] = [input?.number ?? -1, output?.number ?? -1];
    const pid = unwrap(
      shim.viola_spawn(cString(command), from, to, Number(session)),
      `run "${command}"`,
    );
    const pidfd = shim.viola_pidfd(pid);
    if (pidfd < 0) abandon(pid);
    return new Child(pid, new Fd(unwrap(pidfd, `watch process ${pid}`)));
  }

  /** Readable when the process has ended: to be watched. */
  get fd(): Fd {
    return this.#pidfd;
  }

  /** The exit status once it has ended (128 + signal if one killed it), null while it runs. */
  status(): number | null {
    if (this.#status !== null) return this.#status;
    const result = shim.viola_reap(this.pid);
    if (result !== WOULD_BLOCK) {
      this.#status = unwrap(result, `find out whether process ${this.pid} has ended`);
    }
    return this.#status;
  }

  /** Sends a signal to the process and all that it started; does nothing if it has ended. */
  signal(number: number): void {
    if (this.status() === null) shim.viola_kill(-this.pid, number);
  }

  /**
   * Kills it if it still runs, and reaps it.
   *
   * @param timeoutMs How long to wait for the end of a process that hangs in the kernel, before it is abandoned
   */
  close(timeoutMs: number = Infinity): void {
    if (this.#pidfd.closed) return;
    this.signal(SIGKILL);
    using ended = Epoll.create();
    ended.add(this.#pidfd.number, EPOLLIN, 0);
    const deadline = performance.now() + timeoutMs;
    while (this.status() === null && performance.now() < deadline) {
      ended.wait(Math.min(timeoutMs, 1000));
    }
    this.#pidfd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
