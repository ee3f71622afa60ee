// SPDX-License-Identifier: Apache-2.0
/**
 * What a service with Type=notify tells systemd (sd_notify(3)): that it is ready, that it is alive. Without systemd nothing.
 *
 * @module
 */
import { complain } from "./report.ts";

/** The value of a variable. */
type Environment = (name: string) => string | undefined;

/** See the module. */
export class Systemd implements Disposable {
  readonly #socket: string | undefined;
  readonly #timer: ReturnType<typeof setInterval> | undefined;

  /** @param env The environment that systemd gives a service */
  constructor(env: Environment) {
    this.#socket = env("NOTIFY_SOCKET");
    const watchdogMs = watchdogOf(env);
    if (this.#socket === undefined || watchdogMs === null) return;
    // Twice in the time that systemd gives, as sd_watchdog_enabled(3) advises.
    this.#timer = setInterval(() => void this.#tell("WATCHDOG=1"), watchdogMs / 2);
  }

  /** A message that does not arrive must not end the service: systemd draws its own conclusions. */
  async #tell(text: string): Promise<void> {
    if (this.#socket === undefined) return;
    const { notifySystemd } = await import("../lib/bridge/mod.ts");
    await notifySystemd(this.#socket, text).catch((error: Error) => complain(error.message));
  }

  /** The devices are there, or were reported as missing. */
  ready(): Promise<void> {
    return this.#tell("READY=1");
  }

  /** The file is being read again. */
  async reloading(): Promise<void> {
    const { monotonicNs } = await import("../ffi/mod.ts");
    await this.#tell(`RELOADING=1\nMONOTONIC_USEC=${Math.floor(monotonicNs() / 1000)}`);
  }

  /** The service ends. */
  stopping(): Promise<void> {
    return this.#tell("STOPPING=1");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** The time after which systemd misses a message, in milliseconds; null: it wants none from this process. */
function watchdogOf(env: Environment): number | null {
  const [microseconds, pid] = [Number(env("WATCHDOG_USEC")), env("WATCHDOG_PID")];
  const isOurs = pid === undefined || Number(pid) === Deno.pid;
  return isOurs && microseconds > 0 ? microseconds / 1000 : null;
}
