// SPDX-License-Identifier: Apache-2.0
// A player that starts as a sound device comes back is served, whatever the players before it left in the driver's rings:
// Linux's driver waits a second for an answer, for a killed player not at all, and what it sent stays where it is.
import { assertEquals } from "@std/assert";
import { type Reactor, Watches } from "../../../ffi/mod.ts";
import { Commands } from "../../../lib/device/command.ts";
import { device as role } from "../../../lib/classes/sound/device.ts";
import { EmbeddedDevice } from "../../../lib/device/embedded_device.ts";
import { sound } from "../../../lib/classes/mod.ts";
import type { Guest } from "../../../lib/guest/mod.ts";
import {
  type BackEndDevice,
  type BackEndRing,
  BackEndServer,
} from "../../../lib/vhost_user/mod.ts";
import {
  R_PCM_PREPARE,
  R_PCM_RELEASE,
  R_PCM_SET_PARAMS,
  R_PCM_START,
  R_PCM_STOP,
  soundCodeName,
  VQ_CONTROL,
  VQ_TX,
} from "../../../lib/classes/sound/wire.ts";
import type { Chain, DeviceRing } from "../../../lib/virtio/split_ring.ts";
import { FakeClock } from "../../device/wiring.ts";
import { writeNumbered } from "../real/numbered.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { WholeChain } from "./chain.ts";

/** What a player plays: a whole buffer, which lies with the device until its clock goes. */
const FRAMES = 3840;
const PERIOD = { periodFrames: 960, periods: 4 };
const REQUESTS = [R_PCM_SET_PARAMS, R_PCM_PREPARE, R_PCM_START, R_PCM_STOP, R_PCM_RELEASE];
/** Longer than any machine keeps an answer: players of this test give up when they are killed. */
const CONTROL_TIMEOUT_MS = 30_000;

/** When a device dies: at the first such request, before it does what is asked or after, but before it says so. */
interface Death {
  readonly code: number;
  readonly when: "before" | "after";
}

/** A sound device at a socket, whose process can be dead. */
class MortalCard implements Disposable {
  /** Time passes when a test says so. */
  clock = new FakeClock();
  death: Death | null = null;
  /** Called when a ring of a new life starts. */
  onStartRing: (index: number) => void = () => {};
  readonly #watches = new Watches();
  readonly #commands = new Commands(this.#watches, {
    clock: new FakeClock(),
    graceMs: 0,
    onKilled: () => {},
  });
  #server: BackEndServer | null = null;

  constructor(readonly reactor: Reactor, readonly path: string) {}

  get isAlive(): boolean {
    return this.#server !== null;
  }

  /** A new process: nothing of the last one's is known to it. */
  start(): void {
    const { path } = this;
    this.clock = new FakeClock();
    const card = new EmbeddedDevice(role, { sinks: ["null"] }, {
      clock: this.clock,
      watches: this.reactor,
      commands: this.#commands,
      controlPath: null,
      report: () => {},
      configChanged: () => {},
    });
    this.#server = new BackEndServer(this.reactor, path, this.#mortal(card));
  }

  /** Its process is killed. */
  die(): void {
    this.#server?.close();
    this.#server = null;
  }

  #mortal(card: BackEndDevice): BackEndDevice {
    const startRing = (live: BackEndRing): void => {
      const ring = live.index === VQ_CONTROL ? this.#dyingRing(live.ring) : live.ring;
      const { index, memory } = live;
      const seen: BackEndRing = {
        index,
        memory,
        ring,
        call: () => live.call(),
        fail: (error) => live.fail(error),
        drained: () => live.drained(),
        onKick: () => {},
      };
      live.onKick = () => seen.onKick();
      this.onStartRing(index);
      card.startRing(seen);
    };
    return {
      name: card.name,
      deviceId: card.deviceId,
      features: card.features,
      queueCount: card.queueCount,
      maxQueueSize: card.maxQueueSize,
      readConfig: () => card.readConfig(),
      startRing,
      stopRing: (index, abandoned) => card.stopRing(index, abandoned),
      disconnected: () => card.disconnected(),
    };
  }

  /** The control ring, in which the device dies as {@linkcode death} says. */
  #dyingRing(ring: DeviceRing): DeviceRing {
    let code = 0;
    const word = new Uint8Array(4);
    const isDue = (when: Death["when"]): boolean =>
      this.death?.when === when && this.death.code === code;
    const seen: Pick<DeviceRing, "size" | "pop" | "complete" | "enableNotifications"> = {
      size: ring.size,
      pop: (chain: Chain) => {
        if (!this.isAlive || !ring.pop(chain)) return false;
        chain.gather(0, word, 0, 4);
        code = new DataView(word.buffer).getUint32(0, true);
        if (!isDue("before")) return true;
        this.die();
        return false;
      },
      complete: (head: number, length: number) => {
        ring.complete(head, length);
        if (isDue("after")) this.die();
      },
      enableNotifications: () => this.isAlive && ring.enableNotifications(),
    };
    return seen as DeviceRing;
  }

  [Symbol.dispose](): void {
    this.die();
    this.#commands.close();
    this.#watches.close();
  }
}

/** A chain with a bound driver. */
class Scene {
  readonly file: string;

  private constructor(
    readonly chain: WholeChain,
    readonly card: MortalCard,
    readonly guest: Guest<typeof sound>,
  ) {
    this.file = chain.file("in.wav");
    writeNumbered(this.file, FRAMES);
  }

  static async create(chain: WholeChain, memory: "isolated" | "direct"): Promise<Scene> {
    const node = chain.node("node");
    const card = chain.use(new MortalCard(chain.reactor, chain.file("socket")));
    card.start();
    chain.add({ class: "sound", memory });
    const guest = await chain.soundGuest(node, { controlTimeoutMs: CONTROL_TIMEOUT_MS });
    await guest.probe();
    return new Scene(chain, card, guest);
  }

  /** A player, from the moment when its driver has sent the device a message. */
  async player(): Promise<Player> {
    const { messages } = this.guest.progress;
    const player = new Player(this);
    await until(() => player.hasEnded || this.guest.progress.messages > messages, "a message");
    return player;
  }
}

/** A player on its way. */
class Player {
  hasEnded = false;
  readonly result: Promise<string>;

  constructor(readonly scene: Scene) {
    const playing = scene.guest.call("play", { file: scene.file, ...PERIOD });
    this.result = playing.then(
      ({ frames, ioErrors }) => `${frames} frames, ${ioErrors} errors`,
      (error) => (error as Error).message,
    ).finally(() => this.hasEnded = true);
  }

  /** Plays to the end, as fast as the device's clock goes. */
  async end(): Promise<string> {
    await until(() => {
      this.scene.card.clock.pass(100);
      return this.hasEnded;
    }, "the end of a player");
    return await this.result;
  }
}

const ALL_IS_WELL = `${FRAMES} frames, 0 errors`;

/** When a device dies while it plays: no request is on its way then. */
const WHILE_IT_PLAYS = null;

/** Has a device die of what a player asks, or while it plays; then the player is killed. */
async function lose(scene: Scene, death: Death | typeof WHILE_IT_PLAYS): Promise<void> {
  const { chain, card, guest } = scene;
  const since = chain.events.length;
  card.death = death;
  const player = await scene.player();
  const plays = (): boolean =>
    guest.progress.state === "running" && guest.progress.buffered === FRAMES;
  await until(() => !card.isAlive || plays(), "the player to play");
  const ended = death === WHILE_IT_PLAYS ? card.die() : guest.stop();
  await chain.event("lost", since);
  await guest.kill();
  await ended;
  await player.result;
  card.death = null;
}

/** Has the device come back, and a player start at some moment of that. @returns how it went */
async function comeBack(scene: Scene, moment: Moment): Promise<string> {
  const { chain, card } = scene;
  const since = chain.events.length;
  let player: Player | null = moment === "before" ? await scene.player() : null;
  card.onStartRing = (index) => {
    if (index === moment) player ??= new Player(scene);
  };
  card.start();
  await chain.event("resumed", since);
  player ??= new Player(scene);
  return await player.end();
}

/** When a player starts: before the device is there, as it starts a ring, or when it has taken up all. */
type Moment = "before" | typeof VQ_CONTROL | typeof VQ_TX | "resumed";

/** When the next player starts, and how many came and were killed before it while the device was away. */
const RETURNS: readonly [moment: Moment, away: number][] = [
  ["before", 0],
  ["before", 2],
  [VQ_CONTROL, 1],
  [VQ_TX, 0],
  ["resumed", 0],
];

const DEATHS = [
  WHILE_IT_PLAYS,
  ...REQUESTS.flatMap((code) => (["before", "after"] as const).map((when) => ({ code, when }))),
];

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`a player that starts as a sound device comes back is served, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using chain = await WholeChain.create();
      const scene = await Scene.create(chain, memory);
      for (const death of DEATHS) {
        for (const [moment, away] of RETURNS) {
          await lose(scene, death);
          for (let i = 0; i < away; i++) {
            await scene.player();
            await scene.guest.kill();
          }
          const result = await comeBack(scene, moment);
          const request = death && `${death.when} ${soundCodeName(death.code)} was done`;
          const what = `died ${request ?? "while it played"}, ${away} players while it was away, ` +
            `the next started: ${moment}`;
          assertEquals(result, ALL_IS_WELL, `${what}\n${chain.report(-4)}`);
        }
      }
    });
  });
}
