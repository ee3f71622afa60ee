// SPDX-License-Identifier: Apache-2.0
/**
 * What a process holds that Deno's own sanitizers do not see: descriptors made by native code, mappings of shared
 * memory, threads, child processes; and sockets left in folders.
 *
 * @module
 */

// A terminated Worker's thread is gone within some milliseconds, on a loaded machine within a second.
const SETTLE_MS = 5000;

/** Held by the runtime for itself: its caches, its thread pools. They come and go as it likes. */
const RUNTIME_FILE = /_cache_v\d+(-wal|-shm|-journal)?( \(deleted\))?$/;
const RUNTIME_THREAD = /^(tokio|V8|deno-test)/;

/** What is counted: a description, such as "descriptor anon_inode:[eventfd]", and how often it is there. */
type Holdings = Map<string, number>;

/**
 * Runs `body` and checks that nothing it made is left: no descriptor, no mapping of a memfd, no thread, no child
 * process.
 *
 * @param settleMs How long what ends by itself, such as a thread, may take, in milliseconds
 * @throws {Error} naming each kind of thing left, and how many
 */
export async function withoutLeaks<T>(
  body: () => T | Promise<T>,
  settleMs = SETTLE_MS,
): Promise<T> {
  await warmUp();
  const before = holdings();
  const result = await body();
  const deadline = performance.now() + settleMs;
  let left = surplus(before, holdings());
  while (left.length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = surplus(before, holdings());
  }
  if (left.length > 0) throw new Error(`Left behind: ${left.join(", ")}`);
  return result;
}

/** The sockets in a folder: none should be there when those who listened have ended. */
export function socketsIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)]
    .filter(({ name }) => Deno.lstatSync(`${folder}/${name}`).isSocket)
    .map(({ name }) => name);
}

/** What the runtime makes once and keeps, at the first timer, child, signal and Worker, must not look like a leak. */
async function warmUp(): Promise<void> {
  const listener = (): void => {};
  Deno.addSignalListener("SIGHUP", listener);
  Deno.removeSignalListener("SIGHUP", listener);
  await new Deno.Command("true").output();
  const workers = (): number =>
    [...threads()].filter((what) => what.startsWith("thread worker-")).length;
  const before = workers();
  const worker = new Worker("data:text/javascript,postMessage(0)", { type: "module" });
  await new Promise((resolve) => worker.onmessage = resolve);
  worker.terminate();
  for (let i = 0; i < 100 && workers() > before; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function surplus(before: Holdings, now: Holdings): string[] {
  return [...now].flatMap(([what, count]) => {
    const more = count - (before.get(what) ?? 0);
    return more > 0 ? [`${more} × ${what}`] : [];
  });
}

function holdings(): Holdings {
  const counts: Holdings = new Map();
  for (const what of [...descriptors(), ...mappings(), ...threads(), ...children()]) {
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return counts;
}

/** Descriptors by what they are; of sockets and pipes the kind only, as their numbers tell nothing. */
function* descriptors(): Generator<string> {
  for (const { name } of entries("/proc/self/fd")) {
    const target = attempt(() => Deno.readLinkSync(`/proc/self/fd/${name}`));
    // The listing itself holds one, gone by now.
    if (target === null || RUNTIME_FILE.test(target)) continue;
    yield `descriptor ${target.replace(/:\[\d+\]$/, "")}`;
  }
}

/** Mappings of shared memory, by the memfd's name, and of contexts for asynchronous reads. */
function* mappings(): Generator<string> {
  for (const line of Deno.readTextFileSync("/proc/self/maps").split("\n")) {
    const name = line.match(/\/memfd:\S+|\[aio\]/);
    if (name !== null) yield `mapping ${name[0]}`;
  }
}

function* threads(): Generator<string> {
  for (const { name } of entries("/proc/self/task")) {
    const comm = attempt(() => Deno.readTextFileSync(`/proc/self/task/${name}/comm`).trim());
    if (comm !== null && !RUNTIME_THREAD.test(comm)) yield `thread ${comm}`;
  }
}

function* children(): Generator<string> {
  for (const { name } of entries("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // "pid (name) state parent …"; the name may hold anything, so what follows is counted from its last bracket.
    const stat = attempt(() => Deno.readTextFileSync(`/proc/${name}/stat`));
    if (stat === null) continue;
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (Number(parent) !== Deno.pid) continue;
    const program = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    yield `child ${program}${state === "Z" ? " (ended, not reaped)" : ""}`;
  }
}

function entries(folder: string): Deno.DirEntry[] {
  return [...Deno.readDirSync(folder)];
}

/** null for what went away while it was looked at. */
function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
