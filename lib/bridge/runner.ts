// SPDX-License-Identifier: Apache-2.0
/**
 * Carries out what a device's state machine says, through ports, and tells it what comes of that.
 *
 * @module
 */
import { VhostUserError } from "../vhost_user/errors.ts";
import type { BackEndProfile } from "../virtio/device_class.ts";
import type { KernelSide } from "./kernel_side.ts";
import { begin, step } from "./machine.ts";
import type {
  Action,
  ConfigWrite,
  Deed,
  Event,
  Finding,
  Job,
  JobName,
  Problem,
  ReportKind,
  ResultOf,
  Rules,
  Slate,
  State,
  Timer,
} from "./states.ts";

/** The back-ends of a device, one after the other. */
export interface BackEndSide {
  /** Connects, however long it takes. @param replyMs How long a reply may take */
  connect(replyMs: number): Promise<void>;
  /** Ends {@linkcode connect}. */
  abort(): void;
  negotiate(): Promise<BackEndProfile>;
  /** Ends the connection. */
  close(): void;
  /** Makes memory for an activation. @returns whether the ring Worker could take the driver's rings */
  attach(epoch: number, features: bigint): Promise<boolean>;
  start(): Promise<void>;
  replay(): Promise<void>;
  startRings(): Promise<void>;
  resume(): Promise<void>;
  look(): Promise<Finding>;
  stop(): Promise<void>;
  detach(): Promise<void>;
  /** Resets the back-end where it can be. @param epoch The driver's life that is over */
  resetDevice(epoch: number): Promise<Slate>;
  writeConfig(writes: readonly ConfigWrite[]): Promise<void>;
  readConfig(): Promise<Uint8Array>;
}

/** Timers by name, each set once at most. */
export interface Timers {
  set(timer: Timer, ms: number, expired: () => void): void;
  clear(timer: Timer): void;
}

/** What a {@linkcode Runner} acts on. */
export interface Ports {
  readonly kernel: KernelSide;
  readonly backEnd: BackEndSide;
  readonly timers: Timers;
  report(kind: ReportKind, text: string): void;
}

/** How each job is done. */
const JOBS: {
  [J in JobName]: (ports: Ports, job: Extract<Job, { do: J }>, state: State) => unknown;
} = {
  "restore": ({ kernel }) => kernel.restore(),
  "connect": ({ backEnd }, { replyMs }) => backEnd.connect(replyMs),
  "negotiate": ({ backEnd }) => backEnd.negotiate(),
  "prepare": ({ kernel }) => kernel.prepare(),
  "present": ({ kernel }, _, state) => kernel.present(state.backEnd!),
  "announce": ({ kernel }) => kernel.announce(),
  "attach": ({ backEnd }, { epoch, features }) => backEnd.attach(epoch, features),
  "start": ({ backEnd }) => backEnd.start(),
  "replay": ({ backEnd }) => backEnd.replay(),
  "start rings": ({ backEnd }) => backEnd.startRings(),
  "resume": ({ backEnd }) => backEnd.resume(),
  "look": ({ backEnd }) => backEnd.look(),
  "write config": ({ backEnd }, { writes }) => backEnd.writeConfig(writes),
  "read config": ({ backEnd }) => backEnd.readConfig(),
  "stop": ({ backEnd }) => backEnd.stop(),
  "detach": ({ backEnd }) => backEnd.detach(),
  "reset device": ({ backEnd }, { epoch }) => backEnd.resetDevice(epoch),
  "free": ({ kernel }) => kernel.free(),
};

/** How each deed is done; what fails of it is the lane's end. */
const DEEDS: { [D in Deed["do"]]: (ports: Ports, deed: Extract<Deed, { do: D }>) => unknown } = {
  "listen": ({ kernel }) => kernel.listen(),
  "abort connect": ({ backEnd }) => backEnd.abort(),
  "close front-end": ({ backEnd }) => backEnd.close(),
  "mark announced": ({ kernel }) => kernel.markAnnounced(),
  "expect driver": ({ kernel }) => kernel.expectDriver(),
  "release": ({ kernel }, { held }) => kernel.release(held),
  "needs reset": ({ kernel }, { epoch }) => kernel.needsReset(epoch),
  "offer": ({ kernel }, { features }) => kernel.offer(features),
  "publish config": async ({ kernel }, { config, tells }) => {
    const isOther = kernel.publishConfig(config);
    if (tells === "always" || (isOther && tells === "if changed")) await kernel.configInterrupt();
  },
  "config interrupt": ({ kernel }) => kernel.configInterrupt(),
  "count": ({ kernel }, { counter, by }) => kernel.count(counter, by),
  "set timer": () => {},
  "clear timer": ({ timers }, { timer }) => timers.clear(timer),
  "report": ({ report }, { kind, text }) => report(kind, text),
};

/** See the module. */
export class Runner {
  /** Settles when the device has ended: rejects when it was not asked to. */
  readonly done: Promise<void>;
  readonly #ports: Ports;
  readonly #done = Promise.withResolvers<void>();
  readonly #events: Event[] = [];
  #state: State;
  #isStepping = true;
  #isBackEndThere = false;

  /** Begins the device's life. */
  constructor(rules: Rules, ports: Ports) {
    this.#ports = ports;
    this.done = this.#done.promise;
    this.done.catch(() => {}); // whoever cares awaits it
    const [state, actions] = begin(rules);
    this.#state = state;
    // Ports may tell of something only when whoever made this has it.
    queueMicrotask(() => {
      this.#act(actions);
      this.#isStepping = false;
      this.#drain();
    });
  }

  get state(): State {
    return this.#state;
  }

  /** Something has happened. */
  tell(event: Event): void {
    this.#events.push(event);
    if (!this.#isStepping) this.#drain();
  }

  /** Takes one event after the other: what an action brings about at once comes after all of that event's actions. */
  #drain(): void {
    this.#isStepping = true;
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
      if (this.#isOver) continue;
      const [state, actions] = step(this.#state, event);
      this.#state = state;
      this.#act(actions);
      this.#tellKernel();
      this.#end();
    }
    this.#isStepping = false;
  }

  #act(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.do === "set timer") this.#setTimer(action.timer, action.ms);
      else if (action.do in JOBS) void this.#run(action as Job);
      else void this.#perform(action as Deed);
    }
  }

  #setTimer(timer: Timer, ms: number): void {
    this.#ports.timers.set(timer, ms, () => this.tell({ on: "timer", timer }));
  }

  async #run(job: Job): Promise<void> {
    try {
      const act = JOBS[job.do] as (ports: Ports, job: Job, state: State) => unknown;
      const result = await act(this.#ports, job, this.#state) as ResultOf<JobName>;
      this.tell({ on: "done", job: job.do, result } as Event);
    } catch (error) {
      this.tell({ on: "failed", job: job.do, problem: problemFrom(error) });
    }
  }

  async #perform(deed: Deed): Promise<void> {
    try {
      await (DEEDS[deed.do] as (ports: Ports, deed: Deed) => unknown)(this.#ports, deed);
    } catch (error) {
      this.tell({ on: "lane failed", problem: problemFrom(error) });
    }
  }

  #tellKernel(): void {
    const { backEnd, device } = this.#state;
    const isThere = backEnd !== null && device !== null;
    if (isThere !== this.#isBackEndThere) this.#ports.kernel.backEndIsThere(isThere);
    this.#isBackEndThere = isThere;
  }

  get #isOver(): boolean {
    const { at } = this.#state.phase;
    return at === "closed" || at === "failed";
  }

  #end(): void {
    const { end, phase } = this.#state;
    if (phase.at === "closed") this.#done.resolve();
    if (phase.at === "failed" && end !== null && end !== "close") this.#done.reject(end.cause);
  }
}

/** What an error means to the machine. */
export function problemFrom(error: unknown): Problem {
  const cause = error instanceof Error ? error : new Error(String(error));
  const fault = cause instanceof VhostUserError ? cause.fault : "";
  const kind = fault === "late" || fault === "lost" ? fault : "other";
  return { text: cause.message, fault: kind, cause };
}

/** Timers of this isolate. */
export class IsolateTimers implements Timers {
  readonly #timers = new Map<Timer, ReturnType<typeof setTimeout>>();

  set(timer: Timer, ms: number, expired: () => void): void {
    this.clear(timer);
    const id = setTimeout(() => {
      this.#timers.delete(timer);
      expired();
    }, ms);
    this.#timers.set(timer, id);
  }

  clear(timer: Timer): void {
    clearTimeout(this.#timers.get(timer));
    this.#timers.delete(timer);
  }
}
