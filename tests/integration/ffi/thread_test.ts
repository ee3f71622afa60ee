// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Child,
  createPipe,
  Epoll,
  EPOLLIN,
  EventFd,
  OsError,
  pinThread,
  readFd,
  startDetached,
  writeFd,
} from "../../../ffi/mod.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { run, TempFolder, until } from "../../support/process.ts";

/** Waits, blocking, for a command's end. */
function statusOf(child: Child): number | null {
  using epoll = Epoll.create();
  epoll.add(child.fd.number, EPOLLIN, 1);
  epoll.wait(10_000);
  return child.status();
}

Deno.test("pinThread() refuses CPUs that it cannot name, or that are not there", () => {
  for (const cpu of [-1, 53, 0.5, NaN]) {
    assertThrows(() => pinThread([0, cpu]), RangeError, `CPU ${cpu}, expected 0 to 52`);
  }
  if (navigator.hardwareConcurrency > 52) return;
  assertEquals(assertThrows(() => pinThread([52]), OsError, "CPU 52").code, "EINVAL");
});

Deno.test("a child's exit status, or the signal that ended it; asked again it is the same", async () => {
  await withoutLeaks(() => {
    for (const [command, status] of [["exit 7", 7], ["kill -9 $$", 137], ["true", 0]] as const) {
      using child = Child.spawn(command, null, null);
      assertEquals(statusOf(child), status);
      assertEquals(child.status(), status);
      child.signal(15); // ended: no harm, and no other process's
      child.close();
      child.close();
    }
  });
});

Deno.test("a child inherits only the descriptors it is given", async () => {
  await withoutLeaks(() => {
    const [input, output] = [createPipe(), createPipe()];
    using stack = new DisposableStack();
    for (const { reader, writer } of [input, output]) [reader, writer].forEach((e) => stack.use(e));
    using _event = EventFd.create();
    const command = "cat; ls -l /proc/self/fd | grep -c eventfd; true";
    using child = Child.spawn(command, input.reader, output.writer);
    input.reader.close();
    output.writer.close();
    writeFd(input.writer.number, new TextEncoder().encode("abc\n"), 0, 4);
    input.writer.close();
    assertEquals(statusOf(child), 0);
    const bytes = new Uint8Array(100);
    let length = 0;
    for (let n = 1; n > 0; length += n) {
      n = readFd(output.reader.number, bytes, length, 100 - length);
    }
    assertEquals(new TextDecoder().decode(bytes.subarray(0, length)), "abc\n0\n");
  });
});

Deno.test("closing a child kills it and all it started, and reaps it", async () => {
  await withoutLeaks(() => {
    const { reader, writer } = createPipe();
    using _reader = reader;
    const child = Child.spawn("sleep 1000 & sleep 1000; echo never", null, writer);
    writer.close();
    assertEquals(child.status(), null);
    child.close();
    assertEquals(child.status(), 137);
    // Both sleepers held the other end: it is at its end when both are dead.
    assertEquals(readFd(reader.number, new Uint8Array(10), 0, 10), 0);
  });
});

Deno.test("a child whose pipe is not read ends by SIGPIPE, as in a shell", async () => {
  await withoutLeaks(() => {
    const { reader, writer } = createPipe();
    using child = Child.spawn("yes", null, writer);
    writer.close();
    reader.close();
    const status = statusOf(child);
    assert(status === 141, `${status}, expected 128 + SIGPIPE`);
  });
});

Deno.test("a detached process has its own session, inherits no descriptors and is not a child", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const words = ["it's", 'a "word"', "$HOME `x` \\", "two\nlines", ""];
    const script = `
      readlink /proc/$$/fd/0 /proc/$$/fd/3 /proc/$$/fd/2
      ls -l /proc/$$/fd | grep -c eventfd
      echo $$
      printf '%s|' "$@"
    `;
    const write =
      `exec 3>&1; { ${script} } >"$1/partial"; mv "$1/partial" "$1/told"; exec sleep 1000`;
    using _event = EventFd.create();
    startDetached(["sh", "-c", write, "sh", folder.path, ...words]);
    await until(() => exists(folder.file("told")), "what it tells");
    const [input, output, error, eventfds, pid, ...rest] = Deno.readTextFileSync(
      folder.file("told"),
    ).split("\n");
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const [, parent, , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    Deno.kill(Number(pid), "SIGKILL");
    assertEquals([input, output, error], ["/dev/null", "/dev/null", "/dev/null"]);
    assertEquals(eventfds, "0");
    assertEquals(rest.join("\n"), [folder.path, ...words, ""].join("|"));
    assert(Number(parent) !== Deno.pid, stat);
    assert(session !== sessionOf(Deno.pid), stat);
  });
});

Deno.test("a detached process holds no inherited file locks", async () => {
  await using folder = await TempFolder.create();
  const ffi = new URL("../../../ffi/mod.ts", import.meta.url).href;
  const list = `ls -l /proc/$$/fd >"$1/partial"; mv "$1/partial" "$1/told"`;
  const command = JSON.stringify(["sh", "-c", list, "sh", folder.path]);
  const script = `import { startDetached } from "${ffi}"; startDetached(${command});`;
  const shell = 'exec 3>"$1" 9>"$1"; shift; exec "$@"';
  await run("bash", ["-c", shell, "bash", folder.file("lock"), Deno.execPath(), "eval", script]);
  await until(() => exists(folder.file("told")), "what it holds");
  const held = Deno.readTextFileSync(folder.file("told"));
  assert(!held.includes("lock"), held);
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function sessionOf(pid: number): string {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]!;
}

Deno.test("a missing command ends with the shell's status 127", async () => {
  await withoutLeaks(() => {
    using child = Child.spawn("exec /nowhere/at/all 2>/dev/null", null, null);
    assertEquals(statusOf(child), 127);
  });
});
