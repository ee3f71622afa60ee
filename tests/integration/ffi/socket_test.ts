// SPDX-License-Identifier: Apache-2.0
// Unix sockets beside another program's.
import { assert, assertEquals } from "@std/assert";
import { OsError, UnixListener, type UnixSocket, WOULD_BLOCK } from "../../../ffi/mod.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { run, TempFolder } from "../../support/process.ts";

Deno.test("when the kernel cannot pass all descriptors there is an error and none stays open", async () => {
  // Only another program can send so many: 253 in one message.
  const program = `
import array, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 253))])
s.recv(1)`;
  await using folder = await TempFolder.create();
  await withoutLeaks(async () => {
    using listener = UnixListener.listen(folder.file("socket"));
    const child = new Deno.Command("python3", { args: ["-c", program, folder.file("socket")] });
    const ended = child.output();
    let socket: UnixSocket | null = null;
    while (socket === null) {
      socket = listener.accept();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    using connection = socket;
    const receive = () => connection.receive(new Uint8Array(8), 0, 8);
    let error: OsError | null = null;
    while (error === null) {
      try {
        assertEquals(receive().length, WOULD_BLOCK);
        await new Promise((resolve) => setTimeout(resolve, 5));
      } catch (caught) {
        error = caught as OsError;
      }
    }
    assertEquals(error.code, "EMSGSIZE");
    connection.close();
    assert((await ended).success);
  });
});

Deno.test("a listener's file never has another mode than 600", async () => {
  await using folder = await TempFolder.create();
  const [socket, trace] = [folder.file("socket"), folder.file("trace")];
  const ffi = new URL("../../../ffi/mod.ts", import.meta.url).href;
  const script = `import { UnixListener } from "${ffi}"; UnixListener.listen("${socket}");`;
  const strace = ["-f", "-e", "trace=fchmod,bind,chmod,fchmodat", "-e", "signal=none", "-o", trace];
  await run("strace", [
    ...strace,
    "sh",
    "-c",
    'umask 0; exec "$@"',
    "sh",
    Deno.execPath(),
    "eval",
    script,
  ]);
  const calls = Deno.readTextFileSync(trace).split("\n").map((line) => line.replace(/^\d+ +/, ""));
  const bind = calls.findIndex((call) => call.startsWith("bind(") && call.includes(socket));
  assert(/^fchmod\(\d+, 0600\) += 0$/.test(calls[bind - 1]!), calls.join("\n"));
});
