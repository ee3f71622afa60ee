// SPDX-License-Identifier: Apache-2.0
/**
 * Shell commands that play or record a stream, over a pipe that never blocks the event loop.
 *
 * @module
 */
import {
  Child,
  type Clock,
  createPipe,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  Fd,
  ioctl,
  OsError,
  readFd,
  setNonblocking,
  type Watch,
  type Watches,
  WOULD_BLOCK,
  writeFd,
} from "../../ffi/mod.ts";

const FIONREAD = 0x541b;
/** How many commands may still be finishing after their streams ended; beyond that the oldest is killed. */
const MAX_RETIRED = 32;

/** A running command, and our end of its pipe. */
export class Command {
  #pipe: Fd;
  #watch: Watch;
  #waiting = new Int32Array(1);
  #failed = false;

  constructor(
    readonly text: string,
    readonly child: Child,
    pipe: Fd,
    watches: Watches,
    events: number,
    onReady: () => void,
  ) {
    this.#pipe = pipe;
    this.#watch = watches.watch(pipe.number, events | EPOLLET, onReady);
  }

  /**
   * Writes to its standard input.
   *
   * @returns how many bytes were written: fewer than `length` when the pipe is full; onReady is called when there is room
   * @throws {Error} when the command has ended or closed its end
   */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    let done = 0;
    while (done < length) {
      const n = writeFd(this.#pipe.number, bytes, offset + done, length - done);
      if (n === WOULD_BLOCK) break;
      if (n < 0) throw this.#ended(new OsError(`write to "${this.text}"`, -n));
      done += n;
    }
    return done;
  }

  /**
   * Reads from its standard output.
   *
   * @returns how many bytes were read: fewer than `length` when there are no more yet; onReady is called when there are
   * @throws {Error} when the command has ended or closed its end
   */
  read(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    let done = 0;
    while (done < length) {
      const n = readFd(this.#pipe.number, bytes, offset + done, length - done);
      if (n === WOULD_BLOCK) break;
      if (n < 0) throw this.#ended(new OsError(`read from "${this.text}"`, -n));
      // Bytes before the end are returned first; the next read finds the end again.
      if (n === 0 && done === 0) throw this.#ended(new Error("it closed its standard output"));
      if (n === 0) break;
      done += n;
    }
    return done;
  }

  /** Whether the command has ended or closed its end. */
  get ended(): boolean {
    return this.#failed || this.child.status() !== null;
  }

  /** Bytes in the pipe that it has not yet taken. */
  waiting(): number {
    const bytes = new Uint8Array(this.#waiting.buffer);
    return ioctl(this.#pipe.number, FIONREAD, bytes) < 0 ? 0 : this.#waiting[0]!;
  }

  /** Closes our end: a command that plays sees the end of its input. */
  closePipe(): void {
    this.#watch.close();
    this.#pipe.close();
  }

  #ended(cause: Error): Error {
    this.#failed = true;
    const status = this.child.status();
    const what = status === null ? cause.message : `it ended with status ${status}`;
    const hint = "it is run again when its stream is started again";
    return new Error(`Cannot use the command "${this.text}" any more: ${what} (${hint})`, {
      cause,
    });
  }
}

/** A stream's command; if it has ended, it is run again when the stream is started again. */
export abstract class CommandEnd {
  protected command: Command;

  constructor(readonly commands: Commands, readonly start: () => Command) {
    this.command = start();
  }

  restart(): void {
    if (!this.command.ended) return;
    this.close();
    this.command = this.start();
  }

  close(): void {
    this.commands.retire(this.command);
  }
}

/** What happens to commands whose streams have ended. */
export interface CommandsOptions {
  /** A clock that nothing else uses. */
  readonly clock: Clock;
  /** How long they may take to finish, in milliseconds. */
  readonly graceMs: number;
  /** Called with a sentence that names a killed command and the reason. */
  readonly onKilled: (text: string) => void;
}

/** A command whose stream has ended, and when it is killed. */
interface Retired {
  readonly text: string;
  readonly child: Child;
  readonly deadline: number;
  readonly watch: Watch;
}

/** All commands of a device: those with a stream, and those that are finishing. */
export class Commands implements Disposable {
  readonly #options: CommandsOptions;
  /** In the order of their deadlines. */
  #retired: Retired[] = [];
  /** Called when the last finishing command has ended. */
  onIdle: () => void = () => {};

  constructor(readonly watches: Watches, options: CommandsOptions) {
    this.#options = options;
    options.clock.onAlarm = () => this.#killLate();
  }

  /** Runs a command that is written to; `variables` are in its environment. @throws {OsError} */
  startWriting(text: string, variables: Variables, onReady: () => void): Command {
    const { reader, writer } = createPipe();
    return this.#start(text, variables, onReady, { theirs: reader, ours: writer, write: true });
  }

  /** Runs a command that is read from. @throws {OsError} */
  startReading(text: string, variables: Variables, onReady: () => void): Command {
    const { reader, writer } = createPipe();
    return this.#start(text, variables, onReady, { theirs: writer, ours: reader, write: false });
  }

  #start(
    text: string,
    variables: Variables,
    onReady: () => void,
    { theirs, ours, write }: { theirs: Fd; ours: Fd; write: boolean },
  ): Command {
    // Values are numbers and names of formats: no character in them is special to a shell.
    const names = Object.keys(variables);
    const settings = names.map((name) => `${name}=${variables[name]}`).join(" ");
    try {
      setNonblocking(ours);
      const script = `export ${settings}\n${text}`;
      const child = write ? Child.spawn(script, theirs, null) : Child.spawn(script, null, theirs);
      theirs.close();
      const events = write ? EPOLLOUT : EPOLLIN;
      return new Command(text, child, ours, this.watches, events, onReady);
    } catch (error) {
      theirs.close();
      ours.close();
      throw error;
    }
  }

  /** Lets a command finish: its stream has ended. */
  retire(command: Command): void {
    const { text, child } = command;
    command.closePipe();
    if (child.status() !== null) return child.close();
    const { clock, graceMs } = this.#options;
    const watch = this.watches.watch(child.fd.number, EPOLLIN, () => this.#reap(child));
    this.#retired.push({ text, child, deadline: clock.now() + graceMs * 1e6, watch });
    const [oldest] = this.#retired;
    if (this.#retired.length > MAX_RETIRED) {
      this.#kill(oldest!, `${MAX_RETIRED} commands whose streams ended later are still running`);
    }
    this.#arm();
  }

  /** Commands whose streams have ended and that are still running. */
  get finishing(): string[] {
    return this.#retired.map(({ text }) => text);
  }

  #reap(child: Child): void {
    if (child.status() === null) return;
    this.#remove(this.#retired.find((retired) => retired.child === child)!);
    this.#arm();
  }

  #remove(retired: Retired): void {
    this.#retired = this.#retired.filter((other) => other !== retired);
    retired.watch.close();
    retired.child.close();
    if (this.#retired.length === 0) this.onIdle();
  }

  #kill(retired: Retired, why: string): void {
    const isAlive = retired.child.status() === null;
    this.#remove(retired);
    if (isAlive) this.#options.onKilled(`Killed "${retired.text}" before it had finished: ${why}`);
  }

  #killLate(): void {
    const { clock, graceMs } = this.#options;
    for (const retired of this.#retired.filter(({ deadline }) => deadline <= clock.now())) {
      this.#kill(retired, `its stream ended ${graceMs / 1000} s ago`);
    }
    this.#arm();
  }

  #arm(): void {
    this.#options.clock.arm(this.#retired[0]?.deadline ?? Infinity);
  }

  /** Kills the commands that are still finishing. */
  close(): void {
    for (const retired of [...this.#retired]) this.#kill(retired, "the device was closed");
    this.#arm();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Environment of a command. */
export type Variables = Readonly<Record<string, string | number>>;
