// SPDX-License-Identifier: Apache-2.0
/**
 * Processes that a test starts: what they print is kept for the message of a failure, and none outlives its test.
 *
 * @module
 */
import { turn } from "./fake_time.ts";

/** Characters of output kept per process: the last ones. */
const OUTPUT_KEPT = 2 ** 20;
/** How long a process may take to end after SIGTERM, before SIGKILL, in milliseconds. */
const GRACE_MS = 3000;

/** Options of {@linkcode Process.start}. */
export interface ProcessOptions {
  /** Set on top of this process's own environment. */
  env?: Record<string, string>;
  /** Working directory. */
  cwd?: string;
}

/** A running program. Disposing of it ends it and waits for its end. */
export class Process implements AsyncDisposable {
  #child: Deno.ChildProcess;
  #status: Deno.CommandStatus | null = null;
  #drained: Promise<unknown>;
  /** The last of what it printed, on standard output. */
  stdout = "";
  /** The last of what it printed, on standard error. */
  stderr = "";
  /** Its end. */
  readonly ended: Promise<Deno.CommandStatus>;

  private constructor(readonly name: string, command: Deno.Command) {
    this.#child = command.spawn();
    this.ended = this.#child.status.then((status) => this.#status = status);
    this.#drained = Promise.all([
      drain(this.#child.stdout, (text) => this.stdout = (this.stdout + text).slice(-OUTPUT_KEPT)),
      drain(this.#child.stderr, (text) => this.stderr = (this.stderr + text).slice(-OUTPUT_KEPT)),
    ]);
  }

  /** Starts a program. @throws {Deno.errors.NotFound} when there is none of that name */
  static start(program: string, args: string[], options: ProcessOptions = {}): Process {
    const name = program.split("/").at(-1)!;
    const pipes = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
    return new Process(name, new Deno.Command(program, { args, ...options, ...pipes }));
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Its status once it has ended, null while it runs. */
  get status(): Deno.CommandStatus | null {
    return this.#status;
  }

  /** Sends a signal; to one that has ended it is no harm. */
  signal(signal: Deno.Signal): void {
    if (this.#status !== null) return;
    try {
      this.#child.kill(signal);
    } catch { /* it ended just now */ }
  }

  /**
   * Waits until `condition` holds while the process runs.
   *
   * @param what As it continues "… while waiting for"
   * @param deadlineMs Longest wait in milliseconds
   * @returns what the condition returned
   * @throws {Error} when the process ends or the time is over, with what it printed
   */
  async until<T>(condition: () => T | Promise<T>, what: string, deadlineMs = 10_000): Promise<T> {
    const held = await until(async () => await condition() || this.#status, what, deadlineMs)
      .catch((error: Error) => {
        throw new Error(`${error.message}\n${this.report()}`);
      });
    if (held !== this.#status) return held as T;
    throw new Error(`${this.name} ended while waiting for ${what}\n${this.report()}`);
  }

  /** Waits for its end. @throws {Error} when it takes longer, with what it printed */
  async end(deadlineMs = 30_000): Promise<Deno.CommandStatus> {
    await until(() => this.#status !== null, `the end of ${this.name}`, deadlineMs).catch(
      (error: Error) => {
        throw new Error(`${error.message}\n${this.report()}`);
      },
    );
    await this.#drained;
    return this.#status!;
  }

  /** Asks it to end, kills it if it does not, and waits. @returns its status */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    this.signal(signal);
    const timer = setTimeout(() => this.signal("SIGKILL"), GRACE_MS);
    await this.ended;
    clearTimeout(timer);
    await this.#drained;
    return this.#status!;
  }

  /** What it was and what it printed, for an error's message. */
  report(): string {
    const state = this.#status === null ? "runs" : `ended with status ${this.#status.code}`;
    return `${this.name} (process ${this.pid}) ${state}\n${this.stdout}${this.stderr}`.trimEnd();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function drain(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (text: string) => void,
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
}

/**
 * Waits until `condition` returns something true, looking every few milliseconds.
 *
 * @param what As it continues "… while waiting for"
 * @param deadlineMs Longest wait in milliseconds
 * @returns what the condition returned
 * @throws {Error} when the time is over
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  what: string,
  deadlineMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  while (true) {
    const held = await condition();
    if (held) return held;
    if (performance.now() > deadline) {
      throw new Error(`${deadlineMs} ms are over while waiting for ${what}`);
    }
    await turn(5);
  }
}

/**
 * Runs a program to its end.
 *
 * @returns what it printed on standard output
 * @throws {Error} when it fails, with what it printed
 */
export async function run(
  program: string,
  args: string[],
  options: ProcessOptions = {},
): Promise<string> {
  await using process = Process.start(program, args, options);
  const status = await process.end();
  if (!status.success) throw new Error(process.report());
  return process.stdout;
}

/** A folder of a test's own, mode 700, gone with everything in it at the end. */
export class TempFolder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  /** Makes one whose name is short: a Unix socket's path has 107 bytes at most. */
  static async create(): Promise<TempFolder> {
    return new TempFolder(await Deno.makeTempDir({ prefix: "viola-" }));
  }

  /** A path in it. */
  file(name: string): string {
    return `${this.path}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Process ids of a process's children. */
export function childrenOf(pid: number): number[] {
  const threads = [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => name);
  const lists = threads.map((id) => Deno.readTextFileSync(`/proc/${pid}/task/${id}/children`));
  return lists.join(" ").split(/\s+/).filter((id) => id !== "").map(Number);
}
