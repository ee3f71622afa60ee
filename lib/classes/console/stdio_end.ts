// SPDX-License-Identifier: Apache-2.0
/**
 * Standard input and output of this process as the end of a port.
 *
 * @module
 */
import { type Fd, makeRaw, reopenStream, setTerminal, windowSize } from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";
import type { HostEnd } from "./host_end.ts";
import { rawFile, Stream } from "./stream.ts";
import type { TerminalSize } from "./wire.ts";

/** See the module. A terminal is raw meanwhile, but ^C still ends the process. */
export class StdioEnd implements HostEnd {
  readonly place = "at standard input and output";
  readonly #in: Stream;
  readonly #out: Stream;
  readonly #terminal: Fd;
  readonly #all: Disposable;

  /** @throws {OsError} when they cannot be opened anew: sockets cannot */
  constructor(host: Pick<DeviceHost, "watch">) {
    using made = new DisposableStack();
    const open = (number: 0 | 1): Stream => {
      const raw = rawFile(made.use(reopenStream(number)));
      return made.use(new Stream({ ...raw, close: () => {} }, (...args) => host.watch(...args)));
    };
    this.#terminal = made.use(reopenStream(0));
    const { number } = this.#terminal;
    this.#in = open(0);
    this.#out = open(1);
    const settings = makeRaw(number, true);
    if (settings !== null) made.defer(() => setTerminal(number, settings));
    this.#all = made.move();
  }

  /** The end of the input is not that of the output. */
  get isOpen(): boolean {
    return !this.#out.isBroken;
  }

  admit(): void {}

  forgetLeft(): void {}

  read(buffer: Uint8Array<ArrayBuffer>): number {
    return this.#in.read(buffer);
  }

  write(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    const count = this.#out.write(buffer, at, length);
    return this.#out.isBroken ? length : count;
  }

  size(): TerminalSize | null {
    return windowSize(this.#terminal.number);
  }

  [Symbol.dispose](): void {
    this.#all[Symbol.dispose]();
  }
}
