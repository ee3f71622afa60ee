// SPDX-License-Identifier: Apache-2.0
/**
 * The rings of a back-end's session: their settings, and which of them a message stops.
 *
 * @module
 */
import type { Fd } from "../../ffi/mod.ts";
import { refusal } from "./errors.ts";
import type { FrontEndMessage } from "./messages.ts";
import type { VringAddress, VringFd, VringState } from "./payloads.ts";
import type { SharedMemory } from "./shared_memory.ts";
import { Vring, type VringEvent, type VringHost } from "./vring.ts";

/** The rings. Each method throws {@linkcode VhostUserError} when what the front-end wants is malformed. */
export class SessionRings {
  readonly all: readonly Vring[];

  constructor(readonly host: VringHost) {
    const { queueCount } = host.device;
    this.all = Array.from({ length: queueCount }, (_, index) => new Vring(index, host));
  }

  /** Whether the device serves any of them. */
  get anyRuns(): boolean {
    return this.all.some(({ running }) => running);
  }

  /** The ring of an index. */
  at(what: string, index: number): Vring {
    const vring = this.all[index];
    if (vring !== undefined) return vring;
    throw this.#refusal(`${what} for queue ${index}`, `it has ${this.all.length} queues`);
  }

  #stopped(what: string, index: number): Vring {
    const vring = this.at(what, index);
    if (!vring.running) return vring;
    throw this.#refusal(`${what} for queue ${index}`, "the ring is running, expected it stopped");
  }

  #refusal(what: string, why: string): Error {
    return refusal(what, this.host.device.name, why);
  }

  // ---- settings ----

  setSize(index: number, size: number): void {
    const vring = this.#stopped("SET_VRING_NUM", index);
    const { maxQueueSize } = this.host.device;
    if (size < 1 || size > maxQueueSize || (size & (size - 1)) !== 0) {
      throw this.#refusal(
        `SET_VRING_NUM for queue ${index}`,
        `its size is ${size}, expected a power of two up to ${maxQueueSize}`,
      );
    }
    vring.size = size;
  }

  setBase(index: number, base: number): void {
    const vring = this.#stopped("SET_VRING_BASE", index);
    if (base > 0xffff) {
      throw this.#refusal(`SET_VRING_BASE for queue ${index}`, `${base}, expected up to 65535`);
    }
    vring.base = base;
  }

  setAddress(shared: SharedMemory | null, { index, desc, avail, used }: VringAddress): void {
    const vring = this.#stopped("SET_VRING_ADDR", index);
    if (shared === null) {
      throw this.#refusal(`SET_VRING_ADDR for queue ${index}`, "there is no memory table yet");
    }
    const of = `of queue ${index} of ${this.host.device.name}`;
    vring.layout = {
      desc: shared.guestAddress(desc, `the descriptors ${of}`),
      avail: shared.guestAddress(avail, `the available ring ${of}`),
      used: shared.guestAddress(used, `the used ring ${of}`),
    };
  }

  /** Starts a ring, by its kick eventfd or without one. Takes the descriptor. */
  setKick(body: VringFd, fds: Fd[]): Vring {
    const { index } = body;
    const vring = this.at("SET_VRING_KICK", index);
    if (vring.size === 0 || vring.layout === null) {
      throw this.#refusal(
        `SET_VRING_KICK for queue ${index}`,
        "its size and addresses are not all set, expected them before",
      );
    }
    if (body.noFd && fds.length === 0) vring.poll();
    else this.setEvent("kick", body, fds);
    return vring;
  }

  /** Takes the descriptor. */
  setEvent(which: VringEvent, { index, noFd }: VringFd, fds: Fd[]): void {
    const vring = this.at(`the ${which} descriptor`, index);
    if (noFd !== (fds.length === 0)) {
      throw this.#refusal(
        `the ${which} descriptor for queue ${index}`,
        `${fds.length} came, expected ${noFd ? 0 : 1}`,
      );
    }
    vring.setEvent(which, fds[0] ?? null);
    fds.length = 0;
  }

  // ---- stopping ----

  /**
   * Has the device complete the chains of the rings that a message stops.
   *
   * @param body The message's
   * @returns whether it has; else {@linkcode VringHost.onDrained} is called when another look is worth it
   */
  drain(name: FrontEndMessage, body: unknown): boolean {
    let isDrained = true;
    for (const vring of this.#stoppedBy(name, body)) isDrained = vring.drain() && isDrained;
    return isDrained;
  }

  #stoppedBy(name: FrontEndMessage, body: unknown): readonly Vring[] {
    switch (name) {
      case "SET_MEM_TABLE":
      case "RESET_DEVICE":
        return this.all;
      case "GET_VRING_BASE":
        return this.all.filter(({ index }) => index === (body as VringState).index);
      case "SET_VRING_ENABLE": {
        const { index, num } = body as VringState;
        return num === 0 ? this.all.filter((vring) => vring.index === index) : [];
      }
      default:
        return [];
    }
  }
}
