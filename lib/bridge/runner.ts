// SPDX-License-Identifier: Apache-2.0
/**
 * Carries out the actions of a device's state machine, through ports, and feeds the results back as events.
 *
 * @module
 */
import { VhostUserError } from "../vhost_user/errors.ts";
import type { KernelSide } from "./kernel_side.ts";
import { begin, step } from "./machine.ts";
import type {
  Action,
  ConfigWrite,
  Effect,
  Event,
  Finding,
  Job,
  JobName,
  Offer,
  Problem,
  ReportKind,
  Residue,
  ResultOf,
  Rules,
  State,
  Timer,
} from "./states.ts";

/** The back-ends of a device, one after the other. */
export interface BackEndSide {
  /**
   * Connects, without a deadline, and does the handshake. If that fails the connection is closed.
   *
   * @param replyMs Deadline for each reply, in milliseconds
   */
  connect(replyMs: number): Promise<Offer>;
  /** Aborts {@linkcode connect}. */
  abort(): void;
  /** Closes the connection. */
  close(): void;
  /**
   * Creates an activation's memory, starts the shadow rings and begins the replay.
   *
   * @param flatSize See `FLAT_SIZE`
   * @returns whether the ring Worker could attach to the driver's rings; if not, nothing is started
   */
  activate(epoch: number, features: bigint, flatSize: number): Promise<boolean>;
  resume(): Promise<void>;
  check(): Promise<Finding>;
  stop(): Promise<void>;
  detach(): Promise<void>;
  /** Resets the back-end if it supports that. @param epoch The epoch that has ended */
  resetDevice(epoch: number): Promise<Residue>;
  writeConfig(writes: readonly ConfigWrite[]): Promise<void>;
  readConfig(): Promise<Uint8Array>;
}

/** Named timers; setting one again replaces it. */
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
  "prepare": ({ kernel }) => kernel.prepare(),
  "present": ({ kernel }, _, state) => kernel.present(state.backEnd!),
  "announce": ({ kernel }) => kernel.announce(),
  "activate": ({ backEnd }, { epoch, features, flatSize }) =>
    backEnd.activate(epoch, features, flatSize),
  "resume": ({ backEnd }) => backEnd.resume(),
  "check": ({ backEnd }) => backEnd.check(),
  "write config": ({ backEnd }, { writes }) => backEnd.writeConfig(writes),
  "read config": ({ backEnd }) => backEnd.readConfig(),
  "stop": ({ backEnd }) => backEnd.stop(),
  "detach": ({ backEnd }) => backEnd.detach(),
  "reset device": ({ backEnd }, { epoch }) => backEnd.resetDevice(epoch),
  "free": ({ kernel }) => kernel.free(),
};

/** An effect that the ports carry out by themselves; a timer also needs the runner, to dispatch its event. */
type PortEffect = Exclude<Effect, { do: "set timer" }>;

/** How each effect is done; an error in one counts as a failure of the lane. */
const EFFECTS: {
  [D in PortEffect["do"]]: (ports: Ports, effect: Extract<Effect, { do: D }>) => unknown;
} = {
  "listen": ({ kernel }) => kernel.listen(),
  "abort connect": ({ backEnd }) => backEnd.abort(),
  "close front-end": ({ backEnd }) => backEnd.close(),
  "mark announced": ({ kernel }) => kernel.markAnnounced(),
  "expect driver": ({ kernel }) => kernel.expectDriver(),
  "release": ({ kernel }, { held }) => kernel.release(held),
  "needs reset": ({ kernel }, { epoch }) => kernel.needsReset(epoch),
  "offer": ({ kernel }, { features }) => kernel.offer(features),
  "publish config": async ({ kernel }, { config, interrupt }) => {
    const isOther = kernel.publishConfig(config);
    if (interrupt === "always" || (isOther && interrupt === "if changed")) {
      await kernel.configInterrupt();
    }
  },
  "config interrupt": ({ kernel }) => kernel.configInterrupt(),
  "count": ({ kernel }, { counter, by }) => kernel.count(counter, by),
  "clear timer": ({ timers }, { timer }) => timers.clear(timer),
  "report": ({ report }, { kind, text }) => report(kind, text),
};

/** See the module. */
export class Runner {
  /** Settles when the device has ended: resolves after `close`, rejects after a failure. */
  readonly done: Promise<void>;
  /** Set by {@linkcode start}. */
  #ports!: Ports;
  readonly #first: readonly Action[];
  readonly #done = Promise.withResolvers<void>();
  readonly #events: Event[] = [];
  #state: State;
  #isStepping = true;
  #isBackEndConnected = false;

  /** {@linkcode start} starts it. */
  constructor(rules: Rules) {
    this.done = this.#done.promise;
    this.done.catch(() => {}); // reported to those who await it; unawaited it must not end the process
    [this.#state, this.#first] = begin(rules);
  }

  /** Starts the state machine on these ports; they may dispatch events before. */
  start(ports: Ports): void {
    this.#ports = ports;
    this.#act(this.#first);
    this.#isStepping = false;
    this.#drain();
  }

  get state(): State {
    return this.#state;
  }

  /** Queues an event for the state machine. A bound function, to be passed as a listener. */
  readonly dispatch = (event: Event): void => {
    this.#events.push(event);
    if (!this.#isStepping) this.#drain();
  };

  /** Handles events in order: one caused by an action waits until all actions of the current event are carried out. */
  #drain(): void {
    this.#isStepping = true;
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
      if (this.#isOver) continue;
      const [state, actions] = step(this.#state, event);
      this.#state = state;
      this.#act(actions);
      this.#reportConnection();
      this.#end();
    }
    this.#isStepping = false;
  }

  #act(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.do === "set timer") this.#setTimer(action.timer, action.ms);
      else if (action.do in JOBS) void this.#run(action as Job);
      else void this.#perform(action as PortEffect);
    }
  }

  #setTimer(timer: Timer, ms: number): void {
    this.#ports.timers.set(timer, ms, () => this.dispatch({ on: "timer", timer }));
  }

  async #run(job: Job): Promise<void> {
    try {
      const act = JOBS[job.do] as (ports: Ports, job: Job, state: State) => unknown;
      const result = await act(this.#ports, job, this.#state) as ResultOf<JobName>;
      this.dispatch({ on: "done", job: job.do, result } as Event);
    } catch (error) {
      this.dispatch({ on: "failed", job: job.do, problem: problemFrom(error) });
    }
  }

  async #perform(effect: PortEffect): Promise<void> {
    try {
      await (EFFECTS[effect.do] as (ports: Ports, effect: PortEffect) => unknown)(
        this.#ports,
        effect,
      );
    } catch (error) {
      this.dispatch({ on: "lane failed", problem: problemFrom(error) });
    }
  }

  #reportConnection(): void {
    const { backEnd, device } = this.#state;
    const isConnected = backEnd !== null && device !== null;
    if (isConnected !== this.#isBackEndConnected) {
      this.#ports.kernel.setBackEndConnected(isConnected);
    }
    this.#isBackEndConnected = isConnected;
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

/** Converts an error to the machine's {@linkcode Problem}. */
export function problemFrom(error: unknown): Problem {
  const cause = error instanceof Error ? error : new Error(String(error));
  return { text: cause.message, fault: faultOf(cause), cause };
}

function faultOf(cause: Error): Problem["fault"] {
  if (!VhostUserError.is(cause) || cause.fault === "closed") return "other";
  return cause.fault === "late" || cause.fault === "lost" ? cause.fault : "refused";
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
