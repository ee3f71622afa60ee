// SPDX-License-Identifier: Apache-2.0
/**
 * The CAN device (virtio 1.4 draft, "CAN Device"): a controller, between the driver's queues and a bus.
 *
 * @module
 */
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import type { BusEvents, BusSpec } from "./bus.ts";
import { can } from "./class.ts";
import { type Connection, Connector } from "./connection.ts";
import { type Filter, parseFilters } from "./filter.ts";
import type { LogSource } from "./log_source.ts";
import { Receiver } from "./receiver.ts";
import {
  busOf,
  type CanDeviceContract,
  type CanEvent,
  type CanSpec,
  type CanState,
  checkCan,
} from "./spec.ts";
import { Transmitter } from "./transmitter.ts";
import {
  CAN_CONFIG_SIZE,
  type CanFrame,
  CONTROL_SIZE,
  decodeFrame,
  F_CAN_CLASSIC,
  F_CAN_FD,
  F_LATE_TX_ACK,
  F_RTR_FRAMES,
  MAX_FRAME_SIZE,
  RESULT_NOT_OK,
  RESULT_OK,
  RESULT_SIZE,
  S_CTRL_BUSOFF,
  SET_CTRL_MODE_START,
  SET_CTRL_MODE_STOP,
  TX,
  VQ_TX,
} from "./wire.ts";

const OK = Uint8Array.of(RESULT_OK);
const NOT_OK = Uint8Array.of(RESULT_NOT_OK);

/** The most frames of a log that are played in one turn; further ones that are due follow in the next. */
const MOST_PLAYED = 256;

/** A controller. */
class CanDevice implements VirtioDevice<CanDeviceContract> {
  readonly features: bigint;
  readonly calls: CanDeviceContract["calls"];
  readonly #host: DeviceHost<CanEvent>;
  readonly #connector: Connector;
  readonly #filter: Filter;
  readonly #transmitter: Transmitter;
  readonly #receiver: Receiver;
  readonly #request = new Uint8Array(MAX_FRAME_SIZE);
  readonly #counts = { sent: 0, notSent: 0, ignored: 0 };
  #accepted = 0n;
  #state: CanState = "stopped";
  /** Null while the controller is not started. */
  #connection: Connection | null = null;

  constructor(spec: CanSpec, host: DeviceHost<CanEvent>, bus: BusSpec) {
    this.#host = host;
    this.#connector = new Connector(bus, spec);
    this.#filter = parseFilters(spec.filters ?? []);
    this.#receiver = new Receiver(host);
    this.#transmitter = new Transmitter({
      sent: (frame) => this.#sent(frame),
      result: (chain, isSent) => this.#answer(chain, isSent),
    });
    this.features = bit(F_CAN_CLASSIC) | bit(F_RTR_FRAMES) | bit(F_LATE_TX_ACK) |
      (bus.hasFd ? bit(F_CAN_FD) : 0n);
    this.calls = {
      busOff: () => this.#busOff(`The controller of ${bus.name} was set to bus-off`),
      counters: () => this.#counters(),
    };
  }

  // ---- the driver's requests ----

  featuresAccepted(features: bigint): void {
    this.#accepted = features;
    this.#transmitter.isLate = hasFeature(features, F_LATE_TX_ACK);
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    const config = new Uint8Array(CAN_CONFIG_SIZE);
    const status = this.#state === "bus-off" ? S_CTRL_BUSOFF : 0;
    new DataView(config.buffer).setUint16(0, status, true);
    return config;
  }

  serve(queue: number, chain: Chain): void {
    if (chain.writableBytes < RESULT_SIZE) return this.#host.refuse(queue, chain, RESULT_SIZE);
    const length = chain.gather(0, this.#request);
    const request = this.#request.subarray(0, length);
    if (queue === VQ_TX) this.#transmit(chain, decodeFrame(request, TX));
    else this.#host.complete(queue, chain, chain.scatter(0, this.#control(request) ? OK : NOT_OK));
  }

  #transmit(chain: Chain, frame: CanFrame | null): void {
    if (frame !== null && this.#isNegotiated(frame) && this.#connection !== null) {
      this.#transmitter.add(chain, frame);
    } else {
      this.#answer(chain, false);
    }
  }

  #answer(chain: Chain, isSent: boolean): void {
    if (!isSent) this.#counts.notSent++;
    this.#host.complete(VQ_TX, chain, chain.scatter(0, isSent ? OK : NOT_OK));
  }

  #isNegotiated({ isFd, isRtr }: CanFrame): boolean {
    return hasFeature(this.#accepted, isFd ? F_CAN_FD : F_CAN_CLASSIC) &&
      (!isRtr || hasFeature(this.#accepted, F_RTR_FRAMES));
  }

  /** @returns whether the request was done */
  #control(request: Uint8Array<ArrayBuffer>): boolean {
    if (request.length < CONTROL_SIZE) return false;
    const type = new DataView(request.buffer).getUint16(0, true);
    if (type === SET_CTRL_MODE_START) return this.#start();
    if (type !== SET_CTRL_MODE_STOP) return false;
    this.#host.pump(VQ_TX); // frames that were offered before the STOP are answered too
    this.#stop("stopped");
    return true;
  }

  // ---- the state ----

  #start(): boolean {
    if (this.#connection !== null) return true;
    const { name } = this.#connector;
    try {
      this.#connection = this.#connector.connect(this.#busEvents(), this.#host.now());
    } catch (error) {
      const text = `Cannot start the controller of ${name}: ${(error as Error).message}`;
      this.#host.report({ kind: "error", text });
      return false;
    }
    this.#setState("started", `The controller of ${name} is started`);
    return true;
  }

  #busEvents(): BusEvents {
    return {
      received: (frame) => this.#received(frame),
      isFull: () => this.#receiver.isFull,
      sent: (count) => this.#transmitter.sent(count),
      failed: () => this.#transmitter.failed(),
      lost: (count) => this.#receiver.lost(count),
      busOff: (why) => this.#busOff(why),
      report: (event) => this.#host.report(event),
    };
  }

  #stop(state: CanState, why = `The controller of ${this.#connector.name} is stopped`): void {
    this.#connection?.logOut?.flush();
    this.#transmitter.leave();
    this.#receiver.clear();
    this.#connection?.[Symbol.dispose]();
    this.#connection = null;
    if (this.#state !== state) this.#setState(state, why);
  }

  /** Only a controller that is started becomes bus-off. */
  #busOff(why: string): void {
    if (this.#connection !== null) this.#stop("bus-off", why);
  }

  #setState(state: CanState, text: string): void {
    const wasBusOff = this.#state === "bus-off";
    this.#state = state;
    this.#host.report({ kind: "state", text, state });
    if (wasBusOff !== (state === "bus-off")) this.#host.configChanged();
  }

  // ---- frames ----

  #sent(frame: CanFrame): void {
    this.#counts.sent++;
    this.#connection?.logOut?.add(frame);
  }

  #received(frame: CanFrame): void {
    if (this.#filter(frame) && this.#isNegotiated(frame)) {
      this.#receiver.add(frame);
      this.#connection?.logOut?.add(frame);
    } else {
      this.#counts.ignored++;
    }
  }

  tick(now: number): void {
    if (this.#connection === null) return;
    this.#transmitter.send(this.#connection.bus, now);
    this.#receiver.deliver();
    if (this.#connection === null) return; // the bus is gone
    const { bus, logIn, logOut } = this.#connection;
    if (!this.#receiver.isFull) bus.resume?.();
    if (logIn !== null) this.#play(logIn, now);
    logOut?.flush(); // before the driver gets the results: each frame that it knows to be sent is in the log
    this.#transmitter.finish();
  }

  /** A log without times waits for the driver; one with times does not. */
  #play(log: LogSource, now: number): void {
    for (let i = 0; i < MOST_PLAYED && (log.isPaced || this.#receiver.isEmpty); i++) {
      const frame = log.take(now);
      if (frame === null) return;
      this.#received(frame);
      this.#receiver.deliver();
    }
  }

  deadline(): number {
    const { logIn = null } = this.#connection ?? {};
    const isHeld = logIn !== null && !logIn.isPaced && !this.#receiver.isEmpty;
    const play = logIn === null || isHeld ? Infinity : logIn.due;
    return Math.min(play, this.#transmitter.deadline);
  }

  #counters(): ReturnType<CanDeviceContract["calls"]["counters"]> {
    const { received, dropped } = this.#receiver;
    return { state: this.#state, ...this.#counts, received, dropped };
  }

  // ---- the end ----

  stop(queue: number, abandoned: boolean): void {
    if (queue !== VQ_TX) return;
    if (abandoned) this.#transmitter.forget();
    else this.#transmitter.cancel();
  }

  reset(): void {
    this.#accepted = 0n;
    this.#stop("stopped");
  }
}

/** Makes a controller on a bus of any kind. */
export function createCan(
  spec: CanSpec,
  host: DeviceHost<CanEvent>,
  bus: BusSpec,
): VirtioDevice<CanDeviceContract> {
  return new CanDevice(spec, host, bus);
}

/** The embedded CAN device. */
export const device: DeviceRole<CanDeviceContract> = {
  deviceClass: can,
  check: checkCan,
  create: (spec, host) => createCan(spec, host, busOf(spec, host)),
};
