// SPDX-License-Identifier: Apache-2.0
// Soft nodes that keep the means to cut their memory short: an access would then end viola, and all its cards, by SIGBUS.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { EventFd, Fd, OsError, Reactor, UnixSocket } from "../../../ffi/mod.ts";
import { SoftLoopback } from "../../../lib/loopback/mod.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { Process, TempFolder } from "../../support/process.ts";

const SCRIPT = `
import array, sys
path, unsealed = sys.argv[1], sys.argv[2]
import fcntl, mmap, os, socket, struct, time
def memory(name, size, seals):
    huge = os.MFD_HUGETLB if unsealed == "huge" and name == "viola-memory" else 0
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | huge)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
def seals(name): return fcntl.F_SEAL_GROW if name == unsealed else fcntl.F_SEAL_SHRINK
size = 1 << 21
page = memory("viola-page", mmap.PAGESIZE, seals("page"))
ram = memory("viola-memory", size, seals("memory"))
bells = [os.eventfd(0) for _ in range(3)]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print(page, ram, flush=True)
peer = listener.accept()[0]
hello = struct.pack("<IIdd", 0x414c4956, 0, float(0x40000000), float(size))
fds = array.array("i", [page, ram, *bells])
peer.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
time.sleep(600)
`;
const O_RDWR = 2;

for (const unsealed of ["page", "memory"]) {
  Deno.test(`a soft node that can cut its ${unsealed} short is neither opened nor restored`, async () => {
    await withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      await using reactor = new Reactor();
      const path = folder.file("node");
      await using node = Process.start("python3", ["-c", SCRIPT, path, unsealed]);
      await node.until(() => node.stdout.includes("\n"), "the node");
      const text = `/memfd:viola-${unsealed} (deleted) is not sealed against shrinking`;
      const open = () => SoftLoopback.open(path, reactor, 5000);
      const error = await assertRejects(open, OsError, text);
      assertEquals(error.code, "EPROTO");

      using stack = new DisposableStack();
      const [connection, other] = UnixSocket.pair();
      stack.use(other);
      const files = node.stdout.trim().split(" ").map((number) =>
        Fd.open(`/proc/${node.pid}/fd/${number}`, O_RDWR)
      );
      const kept = [connection, ...files, ...[1, 2, 3].map(() => EventFd.create())];
      for (const fd of kept) stack.use(fd);
      assertThrows(() => SoftLoopback.restore(path, kept), OsError, text);
    });
  });
}

Deno.test("a soft node whose memory is sealed is opened", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    const path = folder.file("node");
    await using node = Process.start("python3", ["-c", SCRIPT, path, "nothing"]);
    await node.until(() => node.stdout.includes("\n"), "the node");
    using loopback = await SoftLoopback.open(path, reactor, 5000);
    assertEquals(loopback.port.memory.length, 1);
  });
});

Deno.test("a soft node whose memory has huge pages, which it could take back, is not opened", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    const path = folder.file("node");
    await using node = Process.start("python3", ["-c", SCRIPT, path, "huge"]);
    await node.until(() => node.stdout.includes("\n"), "the node");
    await assertRejects(() => SoftLoopback.open(path, reactor, 5000), OsError, "has pages of ");
  });
});
