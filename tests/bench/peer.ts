// SPDX-License-Identifier: Apache-2.0
/**
 * viola beside an adapter in C (`peer.c`), both as processes with direct memory, in turn: how long the driver waits, and what
 * CPU time and memory that takes. Ratios, which mean the same on any machine.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { block, rng, sound } from "../../lib/classes/mod.ts";
import { startDevice } from "../../lib/device/mod.ts";
import { startGuest } from "../../lib/guest/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { RATE, writeNumbered } from "../integration/real/numbered.ts";
import { Process, run, TempFolder } from "../support/process.ts";
import { interleaved, median } from "../support/statistics.ts";
import { switchesOf } from "../support/wakeups.ts";
import type { Figure, Group } from "./figures.ts";
import { Asker } from "./floor.ts";

const ROUNDS = 5;
const WARM_UP = 5000;
const ACCESSES = 5000;
const REQUESTS = 1000;
const CARD_SECONDS = 2;
const PERIODS_PER_SECOND = 100;
const CARD = { periodFrames: RATE / PERIODS_PER_SECOND, periods: 16 };
const FILE_BYTES = 2 ** 20;
/** Virtqueues that the peer offers. */
const QUEUES: Record<string, number> = { rng: 1, block: 16, sound: 4 };
const MAIN = new URL("../../cli/main.ts", import.meta.url).pathname;

type Who = "viola" | "C";
const BOTH: readonly Who[] = ["viola", "C"];
type Of<T> = Record<Who, T>;

/** What an adapter has used so far. */
interface Usage {
  cpuMs: number;
  wakeUps: number;
}

/** The folder with the compiled peer, and what the devices and drivers need. */
class Bench implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #reactor = this.#stack.use(new Reactor());
  #count = 0;

  private constructor(readonly folder: TempFolder) {
    this.#stack.use(folder);
  }

  static async create(): Promise<Bench> {
    const bench = new Bench(await TempFolder.create());
    const source = new URL("./peer.c", import.meta.url).pathname;
    await run("cc", ["-O2", "-pthread", "-o", bench.#peer, source]);
    return bench;
  }

  get #peer(): string {
    return this.folder.file("peer");
  }

  /** A file that a disk is made of: each needs its own. */
  disk(who: Who): string {
    const file = this.folder.file(`${who}.disk`);
    Deno.writeFileSync(file, crypto.getRandomValues(new Uint8Array(65536)));
    Deno.truncateSync(file, FILE_BYTES);
    return file;
  }

  /** A device of viola's own, its driver, and an adapter between them; from its start to the end of the driver's probe. */
  async join<C extends DeviceClass>(who: Who, deviceClass: C, spec: object) {
    const [socket, path] = [`socket${++this.#count}`, `node${this.#count}`].map((name) =>
      this.folder.file(name)
    ) as [string, string];
    await using stack = new AsyncDisposableStack();
    // deno-lint-ignore no-explicit-any -- which options a class has is its own matter
    stack.use(await startDevice(deviceClass as any, { socket, ...spec } as any));
    const node = stack.use(new SoftNode());
    node.listen(path, this.#reactor);
    const guest = stack.use(
      await startGuest(deviceClass, node.wires, { controlTimeoutMs: 10_000 }),
    );
    const start = performance.now();
    const adapter = stack.use(this.#start(who, deviceClass, socket, path));
    await guest.probe();
    const startMs = performance.now() - start;
    const kept = stack.move();
    return { node, guest, adapter, startMs, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  }

  #start(who: Who, { name, id, config }: DeviceClass, socket: string, path: string): Process {
    if (who === "C") {
      return Process.start(this.#peer, [path, socket, id, QUEUES[name]!, config.min].map(String));
    }
    const ends = ["--socket", socket, "--loopback", `soft:${path}`];
    const how = ["--memory", "direct", "--mmio-version", "2"];
    const command = ["run", "-A", "--no-prompt", "--no-check", MAIN, "attach", name];
    return Process.start(Deno.execPath(), [...command, ...ends, ...how]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** All figures, one group per device. */
export async function measurePeer(): Promise<Group[]> {
  await using bench = await Bench.create();
  return [
    { title: "beside C: entropy, direct memory", figures: await measureEntropy(bench) },
    { title: "beside C: disk, direct memory", figures: await measureDisk(bench) },
    {
      title: `beside C: a card for ${CARD_SECONDS} s, periods of 10 ms, direct memory`,
      figures: await measureCard(bench),
    },
  ];
}

async function measureEntropy(bench: Bench): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const [viola, c] = [await bench.join("viola", rng, {}), await bench.join("C", rng, {})];
  stack.use(viola);
  stack.use(c);
  const of = { viola, C: c };
  for (const who of BOTH) await of[who].guest.call("measureRequests", WARM_UP);
  const asker = stack.use(await Asker.compile());
  const accesses = await inTurn((who) => asker.ask(ACCESSES, 0, of[who].node.wires));
  const requests = await inTurn((who) => of[who].guest.call("measureRequests", REQUESTS));
  return [
    ...compared("register access", "µs", scaled(accesses, 1e-3), 1.05),
    ...compared("request of 64 bytes", "µs", scaled(requests, 1e-3), 1),
  ];
}

async function measureDisk(bench: Bench): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const [viola, c] = [
    await bench.join("viola", block, { file: bench.disk("viola") }),
    await bench.join("C", block, { file: bench.disk("C") }),
  ];
  stack.use(viola);
  stack.use(c);
  const of = { viola, C: c };
  const figures: Figure[] = [];
  for (const bytes of [4096, 65536]) {
    const requests = 500;
    const options = { bytes, depth: 1, requests, sequential: false, sectors: FILE_BYTES / 512 };
    for (const who of BOTH) await of[who].guest.call("measureReads", options); // warms up
    const taken = await inTurn(async (who) => {
      const ns = await of[who].guest.call("measureReads", options);
      return [ns / 1000 / requests];
    });
    figures.push(...compared(`read of ${bytes / 1024} KiB`, "µs", taken, 1));
  }
  return figures;
}

async function measureCard(bench: Bench): Promise<Figure[]> {
  const file = bench.folder.file("sound.wav");
  writeNumbered(file, RATE * CARD_SECONDS);
  const used: Of<Record<"cpu" | "wakeUps" | "start" | "resident" | "own", number[]>> = {
    viola: { cpu: [], wakeUps: [], start: [], resident: [], own: [] },
    C: { cpu: [], wakeUps: [], start: [], resident: [], own: [] },
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const who of BOTH) {
      await using card = await bench.join(who, sound, { sinks: ["null"] });
      const { pid } = card.adapter;
      const before = usageOf(pid);
      await card.guest.call("play", { file, ...CARD });
      const after = usageOf(pid);
      const { cpu, wakeUps, start, resident, own } = used[who];
      cpu.push((after.cpuMs - before.cpuMs) / CARD_SECONDS);
      wakeUps.push((after.wakeUps - before.wakeUps) / CARD_SECONDS / PERIODS_PER_SECOND);
      start.push(card.startMs);
      resident.push(megabytes(pid, "Rss"));
      own.push(megabytes(pid, "Pss"));
    }
  }
  const of = (key: keyof typeof used.viola): Of<number[][]> => ({
    viola: used.viola[key].map((value) => [value]),
    C: used.C[key].map((value) => [value]),
  });
  return [
    ...compared("CPU time, each second", "ms", of("cpu"), 1.3),
    ...compared("wake-ups, each period", "", of("wakeUps")),
    ...compared("start → card", "ms", of("start")),
    ...compared("resident memory", "MB", of("resident")),
    ...compared("memory, its share (PSS)", "MB", of("own")),
  ];
}

/** One measurement of each adapter in turn. */
function inTurn(
  measure: (who: Who) => Promise<ArrayLike<number>>,
): Promise<Of<ArrayLike<number>[]>> {
  return interleaved<Who>(ROUNDS, { viola: () => measure("viola"), C: () => measure("C") });
}

function scaled(taken: Of<ArrayLike<number>[]>, by: number): Of<number[][]> {
  const scale = (rounds: ArrayLike<number>[]) =>
    rounds.map((round) => Array.from(round, (value) => value * by));
  return { viola: scale(taken.viola), C: scale(taken.C) };
}

/** Each adapter's median of medians, and the median of the rounds' ratios. */
function compared(
  name: string,
  unit: Figure["unit"],
  taken: Of<ArrayLike<number>[]>,
  goal?: number,
): Figure[] {
  const ratios = taken.viola.map((round, i) => median(round) / median(taken.C[i]!));
  const ratio: Figure = { name: `${name}: viola ÷ C`, value: median(ratios), unit: "×" };
  return [
    ...BOTH.map((who) => ({
      name: `${name}: ${who}`,
      value: median(taken[who].map((round) => median(round))),
      unit,
    })),
    goal === undefined ? ratio : { ...ratio, goal },
  ];
}

/** CPU time and wake-ups of all threads that a process has now. */
function usageOf(pid: number): Usage {
  const switches = switchesOf(pid);
  let ns = 0;
  for (const thread of switches.keys()) {
    ns += Number(Deno.readTextFileSync(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0]);
  }
  const wakeUps = [...switches.values()].reduce((sum, count) => sum + count, 0);
  return { cpuMs: ns / 1e6, wakeUps };
}

function megabytes(pid: number, field: "Rss" | "Pss"): number {
  const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  return Number(new RegExp(`^${field}: +(\\d+) kB`, "m").exec(rollup)![1]) / 1024;
}
