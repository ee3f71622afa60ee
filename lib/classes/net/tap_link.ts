// SPDX-License-Identifier: Apache-2.0
/**
 * A tap interface of the host as a link.
 *
 * @module
 */
import {
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  OsError,
  TapInterface,
  type Watch,
  WOULD_BLOCK,
} from "../../../ffi/mod.ts";
import { SpecError } from "../../device/role.ts";
import type { Link, LinkHost, LinkSpec, Sending } from "./link.ts";

/** A tap interface, or what stands for one in tests. */
export type RawTap = Pick<TapInterface, "number" | "receive" | "send" | "close">;

/** The interface is down: frames to it are lost, as on a cable that is pulled out. */
const EIO = -5;

/** See the module. */
export class TapLink implements Link {
  readonly #watch: Watch;
  /** The interface failed, which was reported. */
  #isFailed = false;

  constructor(readonly name: string, readonly tap: RawTap, readonly host: LinkHost) {
    // An edge each time that there is something new; until EAGAIN the device asks in each of its turns.
    this.#watch = host.watch(tap.number, EPOLLIN | EPOLLOUT | EPOLLET, () => {});
  }

  get isUp(): boolean {
    return !this.#isFailed;
  }

  send(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): Sending {
    const result = this.tap.send(bytes, at, length);
    if (result >= 0) return "sent";
    if (result === WOULD_BLOCK) return "full";
    if (result !== EIO) this.#fail("send to", result);
    return "lost";
  }

  receive(bytes: Uint8Array<ArrayBuffer>, at: number): number {
    if (this.#isFailed) return 0;
    const length = this.tap.receive(bytes, at);
    if (length >= 0) return length;
    if (length !== WOULD_BLOCK) this.#fail("receive from", length);
    return 0;
  }

  #fail(action: string, result: number): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    const { message } = new OsError(`${action} tap interface ${this.name}`, -result);
    this.host.report({ kind: "error", text: message });
  }

  [Symbol.dispose](): void {
    this.#watch.close();
    this.tap.close();
  }
}

/** @throws {SpecError} for a name that no interface can have */
export function checkTap(name: string): void {
  if (/^[^\s/%:]{1,15}$/.test(name) && name !== "." && name !== "..") return;
  throw new SpecError(
    `Cannot use tap interface "${name}": expected up to 15 characters without spaces, "/", ":" and "%"`,
  );
}

/**
 * The link of a tap interface of the host. It is opened before there is a driver: that takes the kernel's lock of network
 * interfaces (rtnl), which Linux's driver holds while it sets up its card.
 */
export function tapLink(name: string): LinkSpec {
  const connect = (host: LinkHost) => new TapLink(name, TapInterface.openInterface(name), host);
  return { name, isKept: true, connect };
}
