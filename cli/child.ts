// SPDX-License-Identifier: Apache-2.0
/**
 * A viola process as a child of the demo: its facts come as JSON lines, and it ends with its parent.
 *
 * @module
 */
import { asset } from "../ffi/assets.ts";
import { FAILED, Failure, USAGE } from "./exit.ts";
import type { Fact } from "./report.ts";

/** How long a child may take to end in order, in milliseconds. */
const GRACE_MS = 5000;
/** How many characters of its standard error are kept: the last ones. */
const COMPLAINTS = 4096;
/** How many different reported errors are kept: the first ones. */
const ERRORS = 3;

/** The arguments that make Deno.execPath() run viola: the executable itself, or Deno from source. */
export function programArgs(args: readonly string[]): string[] {
  return Deno.build.standalone
    ? [...args]
    : ["run", "-A", "--no-prompt", asset("cli/main.ts").href, ...args];
}

/** What a child is started with besides its arguments. */
export interface ChildOptions {
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each fact that it reports. */
  readonly onFact?: (fact: Fact) => void;
}

/** A running child. */
export class ViolaChild implements AsyncDisposable {
  #process: Deno.ChildProcess;
  #complaints = "";
  #errors = new Set<string>();
  #waiting: { wanted: (fact: Fact) => boolean; resolve: (fact: Fact) => void }[] = [];
  #stopped: Promise<void> | null = null;
  #ended: Promise<Deno.CommandStatus>;
  #failed = Promise.withResolvers<never>();

  /**
   * @param name Its name in errors
   * @param args Its command line; `--json --until-eof` are added
   */
  constructor(
    readonly name: string,
    args: readonly string[],
    readonly options: ChildOptions = {},
  ) {
    // In a session of its own, so that only the parent gets ^C from the terminal; it ends its children in order.
    this.#process = new Deno.Command(Deno.execPath(), {
      args: programArgs([...args, "--json", "--until-eof"]),
      detached: true,
      env: { ...options.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#failed.promise.catch(() => {});
    this.#ended = this.#run();
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Errors that it reported while it kept running: the first few different ones. */
  get errors(): string[] {
    return [...this.#errors];
  }

  /** Rejects with a {@linkcode Failure} when it ends before {@linkcode stop}. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Waits for the next fact that is `wanted`. @throws {Failure} when the child ends first */
  fact(wanted: (fact: Fact) => boolean): Promise<Fact> {
    const { promise, resolve } = Promise.withResolvers<Fact>();
    this.#waiting.push({ wanted, resolve });
    const next = Promise.race([promise, this.failed]);
    next.catch(() => {}); // reported to the caller that awaits it
    return next;
  }

  async #run(): Promise<Deno.CommandStatus> {
    await Promise.all([this.#readFacts(), this.#readComplaints()]);
    const status = await this.#process.status;
    if (this.#stopped === null) {
      this.#failed.reject(this.#failure(status));
      await this.#process.stdin.close().catch(() => {});
    }
    return status;
  }

  #failure({ code, signal }: Deno.CommandStatus): Failure {
    const end = `${this.name} ended with ${signal ?? `exit status ${code}`}`;
    const said = this.#complaints.replaceAll(/^viola: /gm, "").trim().replaceAll(/\s*\n\s*/g, "; ");
    const status = code >= USAGE && code <= FAILED ? code : FAILED;
    return new Failure(
      status,
      `Cannot finish the demo: ${end}${said === "" ? "" : ` with the message: ${said}`}`,
    );
  }

  async #readFacts(): Promise<void> {
    let rest = "";
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#read(line);
    }
  }

  #read(line: string): void {
    try {
      this.#take(JSON.parse(line));
    } catch {
      this.#complain(`${line}\n`); // not a fact: shown to the user if this child fails
    }
  }

  #take(fact: Fact): void {
    this.options.onFact?.(fact);
    if (fact.event === "error" && this.#errors.size < ERRORS) this.#errors.add(`${fact.text}`);
    this.#waiting = this.#waiting.filter(({ wanted, resolve }) => {
      if (!wanted(fact)) return true;
      resolve(fact);
      return false;
    });
  }

  async #readComplaints(): Promise<void> {
    for await (const text of this.#process.stderr.pipeThrough(new TextDecoderStream())) {
      this.#complain(text);
    }
  }

  #complain(text: string): void {
    this.#complaints = (this.#complaints + text).slice(-COMPLAINTS);
  }

  /** Closes its standard input, waits for its end, and kills it if it does not end. Calling it again waits for the same end. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  /** Kills it as a crash would, and waits for its end. */
  kill(): Promise<void> {
    return this.#stopped ??= this.#kill();
  }

  async #kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
    await this.#process.stdin.close().catch(() => {});
  }

  async #stop(): Promise<void> {
    await this.#process.stdin.close().catch(() => {});
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
