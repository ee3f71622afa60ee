// SPDX-License-Identifier: Apache-2.0
/**
 * Long steps that say how far they are: a line that changes on a terminal, elsewhere a line now and then. All of it goes to
 * standard error.
 *
 * @module
 */

/** Lines of what a command printed that are shown when it fails. */
const LAST_LINES = 30;
/** How often there is news, in milliseconds: on a terminal, and elsewhere. */
const TERMINAL_MS = 500;
const ELSEWHERE_MS = 10_000;

/** What a command's lines are counted as: patterns by what they are called, such as `{ compiled: /^ *Compiling / }`. */
export type Counted = Readonly<Record<string, RegExp>>;

/** How a command is run. */
export interface LongRunOptions {
  cwd?: string;
  env?: Record<string, string>;
}

/** "1 min 4 s" for 64,000. */
export function spoken(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Writes a line, in place of the one that changes if there is one. */
export function tell(text: string): void {
  write(Deno.stderr.isTerminal() ? `\r\x1b[K${text}\n` : `${text}\n`);
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

/**
 * Says regularly what `news` returns until the result is disposed of.
 *
 * @param title What the lines begin with
 * @param intervalMs How often, where there is no terminal
 */
export function progress(
  title: string,
  news: () => string,
  intervalMs = ELSEWHERE_MS,
): Disposable {
  const since = performance.now();
  const isTerminal = Deno.stderr.isTerminal();
  const timer = setInterval(() => {
    const text = [`${title}: ${spoken(performance.now() - since)}`, news()].filter(Boolean);
    if (isTerminal) write(`\r\x1b[K${text.join(", ").slice(0, Deno.consoleSize().columns - 1)}`);
    else tell(text.join(", "));
  }, isTerminal ? TERMINAL_MS : intervalMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * Runs a command that takes long, and says how it gets on and how long it took.
 *
 * @param title What it is for, as "daemons: vhost-device-rng"
 * @param counted Lines of its output that are counted
 * @throws {Error} when it is not there or fails, with the last lines it printed
 */
export async function runLong(
  title: string,
  command: readonly string[],
  counted: Counted,
  options: LongRunOptions = {},
): Promise<void> {
  const since = performance.now();
  const counts = Object.fromEntries(Object.keys(counted).map((name) => [name, 0]));
  const last: string[] = [];
  const onLine = (line: string): void => {
    for (const [name, pattern] of Object.entries(counted)) {
      if (pattern.test(line)) counts[name]!++;
    }
    last.push(line);
    if (last.length > LAST_LINES) last.shift();
  };
  const news = () =>
    Object.entries(counts).filter(([, n]) => n > 0).map(([name, n]) => `${n} ${name}`).join(", ");
  const [program, ...args] = command as [string, ...string[]];
  const child = new Deno.Command(program, {
    args,
    ...options,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  using _progress = progress(title, news);
  await Promise.all([eachLine(child.stdout, onLine), eachLine(child.stderr, onLine)]);
  const { success, code } = await child.status;
  if (!success) {
    throw new Error(
      `Cannot run ${command.join(" ")}: exit status ${code}\n${last.join("\n")}`,
    );
  }
  tell([`${title}: done in ${spoken(performance.now() - since)}`, news()].join(", "));
}

async function eachLine(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
}
