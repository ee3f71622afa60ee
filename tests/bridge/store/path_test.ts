// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import {
  checkPathLength,
  checkPrivate,
  folderOf,
  makePrivate,
  storePath,
  type Surroundings,
} from "../../../lib/bridge/store/path.ts";
import { TempFolder } from "../../support/process.ts";

const US = 1000;
const OTHER = 1001;

/** A user's surroundings with these folders: whose, and which mode. */
function surroundings(
  folders: Record<string, [uid: number, mode: number]>,
  { uid = US, env = {}, links = {} }: {
    uid?: number;
    env?: Record<string, string>;
    links?: Record<string, string>;
  } = {},
): Surroundings {
  return {
    uid,
    env: (name) => env[name],
    realPath: (path) => links[path] ?? path,
    lstat: (path) => {
      if (folders[path] === undefined) throw new Deno.errors.NotFound(path);
      const [uid, mode] = folders[path];
      return { isDirectory: true, uid, mode: 0o40000 | mode };
    },
  };
}

Deno.test("a user's store has one place", () => {
  const run: Record<string, [number, number]> = { "/run/user/1000": [US, 0o700] };
  const XDG_RUNTIME_DIR = "/run/user/1000";
  const table: [Surroundings, string][] = [
    [surroundings({}, { uid: 0 }), "/run/viola/store"],
    [surroundings({}, { uid: 0, env: { XDG_RUNTIME_DIR } }), "/run/viola/store"],
    [surroundings({}, { uid: 0, env: { VIOLA_STORE: "/a/b" } }), "/a/b"],
    [surroundings({}, { env: { VIOLA_STORE: "/a/b", XDG_RUNTIME_DIR } }), "/a/b"],
    [surroundings({}, { env: { XDG_RUNTIME_DIR: "/x" } }), "/x/viola/store"],
    [surroundings(run), "/run/user/1000/viola/store"],
    [
      surroundings(run, { env: { VIOLA_STORE: "", XDG_RUNTIME_DIR: "" } }),
      "/run/user/1000/viola/store",
    ],
    [surroundings({ "/run/user/1000": [OTHER, 0o700] }), "/tmp/viola-1000/viola/store"],
    [surroundings({}), "/tmp/viola-1000/viola/store"],
  ];
  for (const [system, path] of table) assertEquals(storePath(system), path);
});

Deno.test("a socket's path has 107 bytes at most", () => {
  checkPathLength(`/${"x".repeat(106)}`);
  assertThrows(() => checkPathLength(`/${"x".repeat(107)}`), RangeError, "has 108 bytes");
  assertThrows(() => checkPathLength(`/${"ü".repeat(54)}`), RangeError, "has 109 bytes");
});

Deno.test("the folder of a path", () => {
  for (const [path, folder] of [["/a/b", "/a"], ["/a", "/"], ["a/b", "a"], ["a", "."]] as const) {
    assertEquals(folderOf(path), folder);
  }
});

const ROOT = { "/": [0, 0o755], "/tmp": [0, 0o1777] } as Record<string, [number, number]>;

Deno.test("a folder is the user's alone, and no other user can replace it", () => {
  const fine: Record<string, [number, number]>[] = [
    { ...ROOT, "/tmp/v": [US, 0o700] },
    { ...ROOT, "/tmp/v": [US, 0o755] },
    { ...ROOT, "/tmp": [0, 0o755], "/tmp/v": [US, 0o1700] },
    { ...ROOT, "/tmp": [US, 0o700], "/tmp/v": [US, 0o700] },
  ];
  for (const folders of fine) checkPrivate("/tmp/v", surroundings(folders));
  const table: [Record<string, [number, number]>, RegExp][] = [
    [
      { ...ROOT, "/tmp/v": [OTHER, 0o700] },
      /use \/tmp\/v for .*: it belongs to user 1001 with mode 700/,
    ],
    [{ ...ROOT, "/tmp/v": [0, 0o755] }, /use \/tmp\/v for .*: it belongs to user 0/],
    [
      { ...ROOT, "/tmp/v": [US, 0o770] },
      /use \/tmp\/v for .*: .* with mode 770, expected a folder of user/,
    ],
    [{ ...ROOT, "/tmp/v": [US, 0o702] }, /use \/tmp\/v for .*: .* with mode 702/],
    [{ ...ROOT, "/tmp/v": [US, 0o1777] }, /use \/tmp\/v for .*: .* with mode 1777/],
    [{ ...ROOT, "/tmp": [0, 0o777], "/tmp/v": [US, 0o700] }, /use \/tmp for .*: .* with mode 777/],
    [{ ...ROOT, "/tmp": [0, 0o775], "/tmp/v": [US, 0o700] }, /use \/tmp for .*: .* with mode 775/],
    [
      { ...ROOT, "/tmp": [OTHER, 0o1777], "/tmp/v": [US, 0o700] },
      /use \/tmp for .*: .* to user 1001/,
    ],
    [
      { ...ROOT, "/": [OTHER, 0o755], "/tmp/v": [US, 0o700] },
      /use \/ for .*: it belongs to user 1001/,
    ],
  ];
  for (const [folders, reason] of table) {
    const error = assertThrows(() => checkPrivate("/tmp/v", surroundings(folders)), Error);
    assertEquals(reason.test(error.message), true, error.message);
  }
});

Deno.test("a folder is judged by what a link leads to", () => {
  const folders = { ...ROOT, "/tmp/v": [US, 0o700], "/tmp/x": [OTHER, 0o700] } as typeof ROOT;
  const system = surroundings(folders, { links: { "/tmp/v": "/tmp/x" } });
  assertThrows(
    () => checkPrivate("/tmp/v", system),
    Error,
    "use /tmp/x for the descriptor store: it belongs to user 1001",
  );
});

Deno.test("a folder is made for the user alone; one that is there, and others may write, is refused", async () => {
  await using folder = await TempFolder.create();
  makePrivate(folder.file("a/b"));
  for (const name of ["a", "a/b"]) {
    assertEquals(Deno.statSync(folder.file(name)).mode! & 0o7777, 0o700);
  }
  for (const mode of [0o720, 0o777, 0o1777]) {
    Deno.chmodSync(folder.file("a/b"), mode);
    const octal = mode.toString(8);
    assertThrows(() => makePrivate(folder.file("a/b")), Error, `with mode ${octal}, expected`);
  }
  Deno.chmodSync(folder.file("a/b"), 0o700);
  Deno.chmodSync(folder.file("a"), 0o777);
  assertThrows(
    () => makePrivate(folder.file("a/b")),
    Error,
    `use ${folder.file("a")} for the descriptor store: it belongs`,
  );
  Deno.writeTextFileSync(folder.file("file"), "");
  assertThrows(
    () => makePrivate(folder.file("file/x")),
    Error,
    "for the descriptor store",
  );
  assertThrows(() => checkPrivate(folder.file("none")), Deno.errors.NotFound);
});
