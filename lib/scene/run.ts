// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a scene: starts what serves its devices, attaches them, starts again what ends, and carries out changes of the file.
 *
 * @module
 */
import type { LaneOptions } from "../bridge/mod.ts";
import type { Scene, SceneDevice } from "./mod.ts";
import { InTurn } from "./in_turn.ts";
import { type Running, Supervised } from "./supervised.ts";

/** What starts the parts of a scene. */
export interface SceneHost {
  /** Starts an embedded device that listens at a socket. @throws {Error} */
  startOwn(device: SceneDevice, spec: object, socket: string): Promise<Running>;
  /** Starts a command. @throws {Error} */
  startCommand(device: SceneDevice, command: string): Promise<Running>;
  /** Connects the device's driver to the back-end at a socket. @throws {Error} */
  attach(device: SceneDevice, socket: string): Promise<Running>;
  /** Sets up a lane that a changed file has more. @throws {Error} */
  addLane(lane: LaneOptions): void;
  /** Told what happened to a device, or to the scene when that is null. */
  report(event: SceneEvent): void;
}

/** What happened. */
export interface SceneEvent {
  /**
   * - `failed`: a part of a device ended or did not start, and is started again
   * - `added`, `removed`, `changed`: the file has changed, and this was carried out
   * - `unchanged`: a change of the file that needs viola to be started again
   */
  readonly kind: "failed" | "added" | "removed" | "changed" | "unchanged";
  readonly device: string | null;
  readonly text: string;
}

/** A device that runs. */
interface Unit {
  readonly device: SceneDevice;
  /** The place of its socket in the folder. */
  readonly slot: number;
  readonly server: Supervised | null;
  readonly attachment: Supervised;
}

/** See the module. */
export class RunningScene {
  readonly #host: SceneHost;
  readonly #folder: string;
  readonly #units = new Map<string, Unit>();
  #lanes: readonly LaneOptions[] = [];
  readonly #turns = new InTurn();

  /** @param folder Where the sockets of embedded devices are */
  constructor(host: SceneHost, folder: string) {
    this.#host = host;
    this.#folder = folder;
  }

  /** Starts all devices. Resolves when each was started once, or could not be. */
  start(scene: Scene): Promise<void> {
    return this.#turns.do(async () => {
      this.#lanes = scene.lanes;
      await Promise.all(scene.devices.map((device, i) => this.#add(device, i)));
    });
  }

  /**
   * Carries out what has changed; devices that have not are left alone.
   *
   * @throws {Error} when a lane cannot be set up: the devices stay as they were
   */
  change(scene: Scene): Promise<void> {
    return this.#turns.do(() => this.#change(scene));
  }

  async #change(scene: Scene): Promise<void> {
    this.#changeLanes(scene.lanes);
    const wanted = new Map(scene.devices.map((device) => [device.name, device]));
    const gone = [...this.#units.values()].filter(({ device }) => !wanted.has(device.name));
    const changed = scene.devices.filter(({ name, settings }) => {
      const now = this.#units.get(name)?.device.settings;
      return now !== undefined && now !== settings;
    });
    const added = scene.devices.filter(({ name }) => !this.#units.has(name));
    // First what goes: what comes may want its node, its socket or its name.
    await Promise.all(
      [...gone.map(({ device }) => device), ...changed].map(({ name }) => this.#remove(name)),
    );
    for (const { device: { name } } of gone) this.#tell("removed", name, "removed from the scene");
    const slots = this.#freeSlots();
    await Promise.all(
      [...changed, ...added].map((device) => this.#add(device, slots.next().value)),
    );
    for (const { name } of changed) this.#tell("changed", name, "started with its new settings");
    for (const { name } of added) this.#tell("added", name, "added to the scene");
  }

  #changeLanes(lanes: readonly LaneOptions[]): void {
    const known = new Map(this.#lanes.map((lane) => [lane.name, JSON.stringify(lane)]));
    for (const lane of lanes) {
      if (!known.has(lane.name)) {
        this.#host.addLane(lane);
        this.#lanes = [...this.#lanes, lane]; // at once: the next one may fail
      } else if (known.get(lane.name) !== JSON.stringify(lane)) {
        this.#tell("unchanged", null, `lane ${lane.name} changes when viola is started again`);
      }
    }
  }

  #tell(kind: SceneEvent["kind"], device: string | null, text: string): void {
    this.#host.report({ kind, device, text });
  }

  /** Numbers that no device's socket has. */
  *#freeSlots(): Generator<number, never> {
    const taken = new Set([...this.#units.values()].map(({ slot }) => slot));
    for (let slot = 0;; slot++) if (!taken.has(slot)) yield slot;
  }

  async #add(device: SceneDevice, slot: number): Promise<void> {
    const { server } = device;
    const own = `${this.#folder}/device${slot}`;
    const socket = server.kind === "own" ? own : server.socket;
    const supervised = this.#serve(device, own);
    // A back-end that is there when the device is attached is not reported as missing first.
    await supervised?.tried;
    const attachment = this.#supervise(device, () => this.#host.attach(device, socket));
    this.#units.set(device.name, { device, slot, server: supervised, attachment });
    await attachment.tried;
  }

  /** Starts what serves a device, if that is not somebody else's business. */
  #serve(device: SceneDevice, socket: string): Supervised | null {
    const { server } = device;
    if (server.kind === "own") {
      return this.#supervise(device, () => this.#host.startOwn(device, server.spec, socket));
    }
    const { command } = server;
    if (command === null) return null;
    return this.#supervise(device, () => this.#host.startCommand(device, command));
  }

  #supervise({ name }: SceneDevice, start: () => Promise<Running>): Supervised {
    const onEnd = (reason: string, pauseMs: number): void =>
      this.#tell("failed", name, `${reason}; trying again in ${pauseMs / 1000} s`);
    return new Supervised({ start, onEnd });
  }

  /** First the connection, so that the back-end sees an orderly end. */
  async #remove(name: string): Promise<void> {
    const { server, attachment } = this.#units.get(name)!;
    await attachment.stop();
    await server?.stop();
    this.#units.delete(name);
  }

  /** Ends all devices: afterwards nothing of the scene is left. */
  close(): Promise<void> {
    return this.#turns.do(async () => {
      await Promise.all([...this.#units.keys()].map((name) => this.#remove(name)));
    });
  }
}
