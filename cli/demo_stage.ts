// SPDX-License-Identifier: Apache-2.0
/**
 * A scene on stage: a process for each embedded device, one that attaches them, and a software driver for each `soft` device
 * in this process.
 *
 * @module
 */
import { Child, Reactor } from "../ffi/mod.ts";
import { parseLine } from "../lib/classes/can/candump.ts";
import { IRQ_TYPE_EDGE_BOTH } from "../lib/classes/gpio/wire.ts";
import type { can, gpio, sound } from "../lib/classes/mod.ts";
import type { TransferResult } from "../lib/classes/sound/transfer.ts";
import { folderOf, makePrivate } from "../lib/bridge/store/path.ts";
import { StoreServer } from "../lib/bridge/store/server.ts";
import { ControlClient } from "../lib/device/control_client.ts";
import { controlPath } from "../lib/device/control_server.ts";
import { type Guest, startGuest } from "../lib/guest/mod.ts";
import { SoftNode } from "../lib/loopback/mod.ts";
import { VIOLA } from "../lib/scene/cue_schema.ts";
import {
  attachFile,
  type DemoPlaces,
  deviceArgs,
  isSoft,
  linesOf,
  nodeOf,
  socketOf,
  takeOf,
} from "../lib/scene/demo_plan.ts";
import type { Scene, SceneClass } from "../lib/scene/mod.ts";
import type { EventLog, Stage } from "../lib/scene/perform.ts";
import type { Step } from "../lib/scene/timeline.ts";
import { frameBytes, type WavFormat, WavReader } from "../lib/wav/mod.ts";
import { ViolaChild } from "./child.ts";
import { step, UNREACHABLE } from "./exit.ts";
import { counted, type Fact } from "./report.ts";

/** How long a device may take to appear, in milliseconds, which includes the start of several processes. */
const APPEAR_MS = 30_000;
/** How long a control request of a driver may take: a back-end that was killed is back by then. */
const CONTROL_MS = 10_000;
/** How long a line that is set may take, in milliseconds. */
const LINE_MS = 10_000;

/** What a demo is made of. */
export interface SceneStageOptions {
  readonly scene: Scene;
  readonly classes: readonly SceneClass[];
  readonly places: DemoPlaces;
  readonly log: EventLog;
  /** The file that the cue of this number plays. */
  readonly fileOf: (cue: number) => string;
}

/** What plays on a card. */
interface Playing {
  readonly cue: number;
  readonly rate: number;
  readonly frameBytes: number;
}

/** How far a card is. */
export interface CardProgress {
  /** What plays. */
  readonly cue: number;
  /** Frames that it returned. */
  readonly position: number;
  readonly state: string;
  /** What the card holds, and what its device reports, in milliseconds. */
  readonly latencyMs: number;
  readonly xruns: number;
}

/** The format of what is recorded. */
const TAKE: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48_000 };

/** Facts that would be noted again and again. */
const QUIET = ["position", "counters", "listening"];

/** See the module. */
export class SceneStage implements Stage, AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #options: SceneStageOptions;
  readonly #reactor: Reactor;
  /** What plays on each card. */
  readonly #playing = new Map<string, Playing>();
  readonly #children = new Map<string, ViolaChild>();
  readonly #guests = new Map<string, Guest>();
  /** By their cue. */
  readonly #loads = new Map<number, Disposable>();
  readonly #trouble = Promise.withResolvers<never>();

  private constructor(options: SceneStageOptions) {
    this.#options = options;
    this.#reactor = this.#stack.use(new Reactor());
    this.#trouble.promise.catch(() => {}); // each wait for it reports it
  }

  /** Starts everything, and waits until each driver has found its device. @throws {Failure} when something ends meanwhile */
  static async start(options: SceneStageOptions, signal: AbortSignal): Promise<SceneStage> {
    const stage = new SceneStage(options);
    try {
      const end = (): void =>
        stage.#trouble.reject(new Error(`Cannot finish the demo: ${signal.reason} ended it`));
      if (signal.aborted) end();
      signal.addEventListener("abort", end, { once: true });
      await stage.#start();
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Whether a device is a card with a driver here. */
  isCard(name: string): boolean {
    return this.#guests.has(name) && this.#device(name).attachment.class.name === "sound";
  }

  /** How far a card is: null while nothing plays. */
  progressOf(name: string): CardProgress | null {
    const file = this.#playing.get(name);
    if (file === undefined) return null;
    const { position, state, buffered, latencyBytes, xruns } =
      this.guest<typeof sound>(name).progress;
    const frames = buffered + latencyBytes / file.frameBytes;
    const latencyMs = Math.round(10_000 * frames / file.rate) / 10;
    return { cue: file.cue, position, state, latencyMs, xruns };
  }

  /** Rejects when a process ends that should not. */
  get trouble(): Promise<never> {
    return this.#trouble.promise;
  }

  /** The driver of a device. */
  guest<D extends typeof sound | typeof can | typeof gpio>(name: string): Guest<D> {
    return this.#guests.get(name) as unknown as Guest<D>;
  }

  async #start(): Promise<void> {
    const { scene: { devices }, places } = this.#options;
    const soft = devices.filter(isSoft);
    const nodes = soft.map((device) => {
      const node = this.#stack.use(new SoftNode());
      node.listen(nodeOf(places, devices.indexOf(device)), this.#reactor);
      return node;
    });
    this.#startStore();
    this.#stack.defer(() => this.#stopAll());
    const own = devices.filter(({ server }) => server.kind === "own");
    const listening = own.map(({ name }) => this.#startDevice(name));
    await Deno.writeTextFile(this.#sceneFile, attachFile(this.#options.scene, places));
    this.#startViola();
    const guests = soft.map(async ({ name, attachment }, i) => {
      const patience = { controlTimeoutMs: CONTROL_MS };
      const guest = await startGuest(attachment.class, nodes[i]!.wires, { name, ...patience });
      this.#guests.set(name, guest);
      this.#stack.use(guest);
    });
    await this.#unlessTrouble(Promise.all([...listening, ...guests]));
    await this.#unlessTrouble(Promise.all(soft.map(({ name }) => this.#probe(name))));
  }

  get #sceneFile(): string {
    return `${this.#options.places.folder}/scene.toml`;
  }

  /** The descriptor store is this demo's alone, and files of what is killed are removed with its folder. */
  get #env(): { readonly VIOLA_STORE: string; readonly TMPDIR: string } {
    const { folder } = this.#options.places;
    return { VIOLA_STORE: `${folder}/store/socket`, TMPDIR: folder };
  }

  /** Serves the descriptor store in this process, which lives longer than each viola. */
  #startStore(): void {
    const path = this.#env.VIOLA_STORE;
    makePrivate(folderOf(path));
    this.#stack.use(new StoreServer(path, this.#reactor));
  }

  #unlessTrouble<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.trouble]);
  }

  /** A driver finds its device, and uses it once. */
  async #probe(name: string): Promise<void> {
    const guest = this.#guests.get(name)!;
    const { probeMs, features, ...found } = await guest.probe(APPEAR_MS);
    const { class: { name: className } } = this.#device(name).attachment;
    if (className === "can") await this.guest<typeof can>(name).call("start");
    else if (className === "gpio") {
      await this.#watchLines(name, (found as unknown as { names: string[] }).names);
    } else if (className !== "sound") await guest.exercise();
    this.#options.log.add("found", { device: name, class: className, features, probeMs });
  }

  /** The driver watches the lines that cues drive from outside. */
  async #watchLines(name: string, names: readonly string[]): Promise<void> {
    const guest = this.guest<typeof gpio>(name);
    for (const line of linesOf(this.#options.scene, name)) {
      const number = names.includes(line) ? names.indexOf(line) : Number(line);
      if (!(number < names.length)) {
        throw new Error(`Cannot set ${line} of ${name}: it has no such line`);
      }
      await guest.call("input", number);
      await guest.call("irq", number, IRQ_TYPE_EDGE_BOTH);
    }
  }

  #device(name: string): Scene["devices"][number] {
    return this.#options.scene.devices.find((one) => one.name === name)!;
  }

  // ---- processes ----

  /** Starts a device's process. Resolves when it listens. */
  async #startDevice(name: string): Promise<void> {
    const { scene: { devices }, places, classes } = this.#options;
    const device = this.#device(name);
    const args = deviceArgs(device, devices.indexOf(device), places, classes);
    const child = this.#child(name, `the device ${name}`, args);
    await child.fact(({ event }) => event === "listening");
  }

  #startViola(): void {
    const control = `${this.#options.places.folder}/control${this.#children.size}`;
    this.#child(VIOLA, "viola up", ["up", this.#sceneFile, "--control", control]);
  }

  #child(name: string, title: string, args: readonly string[]): ViolaChild {
    const onFact = (fact: Fact): void => {
      if (QUIET.includes(fact.event)) return;
      const { event, device = name, ...facts } = fact;
      this.#options.log.add(event, { from: name === VIOLA ? VIOLA : "device", device, ...facts });
    };
    const child = new ViolaChild(title, args, { env: this.#env, onFact });
    child.failed.catch((error) => this.#trouble.reject(error));
    this.#children.set(name, child);
    return child;
  }

  async #stopAll(): Promise<void> {
    for (const load of this.#loads.values()) load[Symbol.dispose]();
    await this.#children.get(VIOLA)?.stop();
    await Promise.all([...this.#children.values()].map((child) => child.stop()));
  }

  // ---- steps ----

  async act({ cue, action }: Step): ReturnType<Stage["act"]> {
    switch (action.kind) {
      case "play":
        return await this.#play(action.device, cue);
      case "record":
        return await this.#record(action);
      case "pause":
      case "resume":
        this.guest(action.device)[action.kind]();
        return null;
      case "end":
        await this.guest(action.device).stop();
        return null;
      case "kill":
      case "stop":
        await this.#children.get(action.device)![action.kind]();
        return null;
      case "start":
        if (action.device === VIOLA) this.#startViola();
        else await this.#startDevice(action.device);
        return null;
      case "send":
        return await this.#send(action.device, action.frame);
      case "set":
        return await this.#set(action.device, action.line, action.level);
      case "load":
        this.#loads.set(cue, startLoad(action.processes));
        return null;
      case "unload":
        this.#loads.get(cue)?.[Symbol.dispose]();
        return null;
      case "caption":
        return null;
    }
  }

  async #play(device: string, cue: number): ReturnType<Stage["act"]> {
    if (this.#playing.has(device)) {
      throw new Error(`Cannot play on ${device}: what it plays has not ended`);
    }
    const file = this.#options.fileOf(cue);
    const playing = this.guest<typeof sound>(device).call("play", { file });
    const { rate, frameBytes } = formatOf(file);
    this.#playing.set(device, { cue, rate, frameBytes });
    try {
      const { steps: _, ...result }: TransferResult = await playing;
      const { frames, xruns, stopped } = result;
      const text = `${stopped ? "ended after" : "played"} ${frames} frames, ${
        counted(xruns, "xrun")
      }`;
      return { event: "played", text, ...result };
    } finally {
      this.#playing.delete(device);
    }
  }

  async #record(
    { device, name, seconds }: Extract<Step["action"], { kind: "record" }>,
  ): ReturnType<Stage["act"]> {
    const file = takeOf(name, this.#options.places);
    const frames = Math.round(seconds * TAKE.rate);
    const { steps: _, ...result }: TransferResult = await this.guest<typeof sound>(device)
      .call("capture", { file, frames, format: TAKE });
    const text = `recorded ${result.frames} frames, ${counted(result.xruns, "xrun")}`;
    return { event: "recorded", text, file, ...result };
  }

  async #send(device: string, text: string): ReturnType<Stage["act"]> {
    const { frame } = parseLine(`(0.0) can ${text}`) as Exclude<
      ReturnType<typeof parseLine>,
      string | null
    >;
    const sent = await this.guest<typeof can>(device).call("send", [frame]);
    if (sent === 0) throw new Error(`Cannot send ${text} on ${device}: the device refused it`);
    return { event: "sent", text: `${text} was sent`, frame: text };
  }

  async #set(device: string, line: string, level: number): ReturnType<Stage["act"]> {
    const { scene: { devices }, places } = this.#options;
    const socket = socketOf(places, devices.indexOf(this.#device(device)));
    using client = new ControlClient(controlPath(socket) ?? socket, this.#reactor);
    client.send({ set: [line, level] });
    const reply = await client.next(LINE_MS);
    const taken = reply?.taken === true;
    const text = `the driver has ${taken ? "" : "not "}handled the edge of ${line}`;
    return { event: "set", text, line, level, taken };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await step(UNREACHABLE, "end the demo's processes", () => this.#stack.disposeAsync());
  }
}

function formatOf(file: string): { rate: number; frameBytes: number } {
  using reader = WavReader.open(file, 0);
  return { rate: reader.format.rate, frameBytes: frameBytes(reader.format) };
}

/** Uses a CPU until it is killed, or its parent is gone. */
const BUSY =
  "while kill -0 $PPID 2>/dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done";

/** Starts processes that do nothing but use a CPU each. @returns ends them */
function startLoad(processes: number): Disposable {
  using started = new DisposableStack();
  for (let i = 0; i < processes; i++) started.use(Child.spawn(BUSY, null, null));
  return started.move();
}
