// SPDX-License-Identifier: Apache-2.0
/**
 * Signals eventfds that another process holds too, without ever blocking.
 *
 * Whoever has an eventfd can fill it and clear O_NONBLOCK, which belongs to the file that all holders share; the next write
 * then blocks until somebody reads, and a check before the write would come too early. An eventfd cannot be opened anew,
 * RWF_NOWAIT is refused for it, and a thread that may block would cost a hop. But the kernel signals eventfds itself, and
 * never blocks: at the end of an asynchronous read that names one (io_submit(2), IOCB_FLAG_RESFD). So this reads nothing,
 * from /dev/null, which ends before the call returns. A full eventfd stays full: it need not be signalled.
 *
 * @module
 */
import { OsError, unwrap } from "./errno.ts";
import { Fd } from "./fd.ts";
import { shim } from "./symbols.ts";

const O_RDONLY = 0;
const EAGAIN = 11;

const FULL = "all that the sysctl fs.aio-max-nr allows are in use";
const MISSING = "the kernel needs CONFIG_AIO, and a sandbox must allow io_setup and io_submit";

/** An AIO context of one thread, to signal eventfds of its peers with. */
export class PeerSignal implements Disposable {
  readonly #null: Fd;
  #context: number;

  private constructor(nothing: Fd, context: number) {
    this.#null = nothing;
    this.#context = context;
  }

  /** @throws {OsError} ENOSYS without CONFIG_AIO, EAGAIN when the machine's contexts (fs.aio-max-nr) are used up */
  static create(): PeerSignal {
    const nothing = Fd.open("/dev/null", O_RDONLY);
    const context = shim.viola_aio_setup();
    if (context >= 0) return new PeerSignal(nothing, context);
    nothing.close();
    throw new OsError(`create an AIO context (${context === -EAGAIN ? FULL : MISSING})`, -context);
  }

  /** Signals an eventfd by its number, without an allocation. @throws {OsError} EINVAL when it is no eventfd */
  signal(number: number): void {
    const result = shim.viola_aio_signal(this.#context, this.#null.number, number);
    if (result < 0) unwrap(result, `signal eventfd ${number}`);
  }

  /** Frees it, which takes the kernel about 30 ms. Calling it again does nothing; {@linkcode signal} fails afterwards. */
  close(): void {
    if (this.#context === 0) return;
    const context = this.#context;
    this.#context = 0;
    this.#null.close();
    unwrap(shim.viola_aio_destroy(context), "free an AIO context");
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
