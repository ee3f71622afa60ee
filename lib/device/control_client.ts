// SPDX-License-Identifier: Apache-2.0
/**
 * A client of a control socket, a device's or a scene's.
 *
 * @module
 */
import { type Reactor, UnixSocket, WOULD_BLOCK } from "../../ffi/mod.ts";

/** The longest line that a device sends: a reply about all that it has. */
const MOST_LINE_BYTES = 2 ** 20;
/** How long a look for the next line lasts, in milliseconds; then the signal is looked at. */
const LOOK_MS = 250;

/** The client. */
export class ControlClient implements Disposable {
  readonly #socket: UnixSocket;
  #input = "";
  readonly #decoder = new TextDecoder();

  /**
   * Connects to a control socket.
   *
   * @param path Its path; of a device see `controlPath`
   * @throws {OsError} ENOENT or ECONNREFUSED: nothing runs there, or nothing with a control socket; EACCES: of another user
   */
  constructor(path: string, readonly reactor: Reactor) {
    this.#socket = UnixSocket.connect(path);
  }

  /** Sends a request. @throws {Error} */
  send(request: object): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(request)}\n`);
    const sent = this.#socket.send(bytes, 0, bytes.length);
    if (sent < bytes.length) throw new Error("Cannot ask the device: it does not read requests");
  }

  /**
   * The next line of the device.
   *
   * @param timeoutMs Milliseconds; Infinity to wait as long as it takes
   * @returns null when the signal was aborted
   * @throws {Error} the device's own, when it could not do what was asked; when the device is gone, or the time is over
   */
  async next(timeoutMs: number, signal?: AbortSignal): Promise<Record<string, unknown> | null> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const line = this.#takeLine();
      if (line !== null) return checked(line);
      if (signal?.aborted) return null;
      if (performance.now() >= deadline) {
        throw new Error(`Cannot wait for the device any longer: no answer in ${timeoutMs} ms`);
      }
      await this.reactor.readable(this.#socket, LOOK_MS);
      this.#receive();
    }
  }

  #takeLine(): string | null {
    const end = this.#input.indexOf("\n");
    if (end < 0) return null;
    const line = this.#input.slice(0, end);
    this.#input = this.#input.slice(end + 1);
    return line;
  }

  #receive(): void {
    const bytes = new Uint8Array(65536);
    const { length } = this.#socket.receive(bytes, 0, bytes.length, 0);
    if (length === WOULD_BLOCK) return;
    if (length === 0) throw new Error("Cannot talk to the device any longer: it has ended");
    this.#input += this.#decoder.decode(bytes.subarray(0, length), { stream: true });
    if (this.#input.length > MOST_LINE_BYTES) {
      throw new Error(`Cannot read what the device sends: a line of over ${MOST_LINE_BYTES} bytes`);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** @throws {Error} for a reply that is an error, or is none at all */
function checked(line: string): Record<string, unknown> {
  const value = JSON.parse(line) as Record<string, unknown> | null;
  if (typeof value !== "object" || value === null) {
    throw new Error("Cannot understand the device: expected a JSON object");
  }
  if (value.error !== undefined) throw new Error(String(value.error));
  return value;
}
