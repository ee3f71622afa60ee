// SPDX-License-Identifier: Apache-2.0
// What viola install writes, and what it leaves alone, in folders that a test makes up.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Disk } from "../../cli/install/disk.ts";
import { type SystemFile, systemFiles } from "../../cli/install/files.ts";
import { backEndDescription, modulesLoad, nodeModules } from "../../cli/install/fragments.ts";
import { install, remove } from "../../cli/install/installation.ts";
import { parseManifest } from "../../cli/install/manifest.ts";
import { sound } from "../../lib/classes/mod.ts";

/** A root folder, gone at the end. */
class Root implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "viola-root-" });
  readonly disk = new Disk(this.path);
  /** What the last command did, without what it left as it was. */
  done: string[] = [];

  async install(...files: SystemFile[]): Promise<string[]> {
    this.done = [];
    await install(this.disk, files, (step) => this.#note(step));
    return this.done;
  }

  async remove(): Promise<string[]> {
    this.done = [];
    assert(await remove(this.disk, (step) => this.#note(step)));
    return this.done;
  }

  #note({ action, path, why }: { action: string; path: string; why: string }): void {
    if (action !== "same") this.done.push(`${action} ${path}${why === "" ? "" : `: ${why}`}`);
  }

  write(path: string, text: string): void {
    Deno.mkdirSync(`${this.path}${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(this.path + path, text);
  }

  read(path: string): string {
    return Deno.readTextFileSync(this.path + path);
  }

  /** All that is in it, folders with a slash at the end. */
  all(folder = "/"): string[] {
    return [...Deno.readDirSync(this.path + folder)].flatMap(({ name, isDirectory }) =>
      isDirectory ? [`${folder}${name}/`, ...this.all(`${folder}${name}/`)] : [folder + name]
    ).sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

const file = (path: string, text: string, isConfig = false): SystemFile => ({
  path,
  mode: 0o644,
  content: { text },
  isConfig,
});
const LINK: SystemFile = {
  path: "/usr/bin/link",
  mode: 0o777,
  content: { link: "viola" },
  isConfig: false,
};

Deno.test("what was installed is removed, with the folders that were made for it", async () => {
  using root = new Root();
  root.write("/usr/bin/other", "");
  const files = [file("/usr/bin/viola", "1"), LINK, file("/etc/viola/car.toml", "2", true)];
  assertEquals(await root.install(...files), [
    "write /usr/bin/viola",
    "write /usr/bin/link",
    "write /etc/viola/car.toml",
  ]);
  assertEquals(Deno.readLinkSync(`${root.path}/usr/bin/link`), "viola");
  assertEquals(await root.install(...files), []);
  await root.remove();
  assertEquals(root.all(), ["/usr/", "/usr/bin/", "/usr/bin/other"]);
});

Deno.test("an update writes what has changed, and removes what there is no more; settings stay", async () => {
  using root = new Root();
  await root.install(file("/a/old", "1"), file("/a/both", "1"), file("/etc/car", "1", true));
  assertEquals(await root.install(file("/a/both", "2"), file("/a/new", "1")), [
    "write /a/both",
    "write /a/new",
    "remove /a/old",
  ]);
  assertEquals(root.read("/a/both"), "2");
  assertEquals(root.read("/etc/car"), "1");
  await root.remove();
  assertEquals(root.all(), []);
});

Deno.test("what was changed by hand is neither overwritten nor removed", async () => {
  using root = new Root();
  await root.install(file("/a", "1"), file("/b", "1"), LINK);
  root.write("/a", "mine");
  const changed = "it was changed since viola wrote it";
  assertEquals(await root.install(file("/a", "2"), file("/b", "2"), LINK), [
    `keep /a: ${changed}`,
    "write /b",
  ]);
  Deno.removeSync(`${root.path}/usr/bin/link`);
  root.write("/usr/bin/link", "a program");
  assertEquals((await root.remove()).sort(), [
    `keep /a: ${changed}`,
    `keep /usr/bin/link: ${changed}`,
    "remove /b",
  ]);
  assertEquals(root.read("/a"), "mine");
  assertEquals(root.read("/usr/bin/link"), "a program");
});

Deno.test("what somebody else wrote is theirs, even if it is the same", async () => {
  using root = new Root();
  root.write("/same", "1");
  root.write("/other", "theirs");
  assertEquals(await root.install(file("/same", "1"), file("/other", "1")), [
    "keep /other: viola did not write it",
  ]);
  assertEquals(await root.remove(), []);
  assertEquals(root.all(), ["/other", "/same"]);
});

/** A system that fails after some writes. */
class FailingDisk extends Disk {
  constructor(root: string, public writes: number) {
    super(root);
  }

  override write(file: Parameters<Disk["write"]>[0]): Promise<void> {
    return this.writes-- > 0 ? super.write(file) : Promise.reject(new Error("no power"));
  }
}

Deno.test("an installation that was interrupted is continued by the next, at any file", async () => {
  const old = [file("/a", "1"), file("/b", "1"), file("/gone", "1")];
  const files = [file("/a", "2"), file("/b", "2"), file("/folder/c", "2")];
  // The manifest, three files, the manifest.
  for (let writes = 0; writes < 5; writes++) {
    using root = new Root();
    if (writes > 0) await root.install(...old);
    const disk = new FailingDisk(root.path, writes);
    await assertRejects(() => install(disk, files, () => {}), Error, "no power");
    const done = await root.install(...files);
    assertEquals(done.filter((line) => line.startsWith("keep")), []);
    assertEquals(["/a", "/b", "/folder/c"].map((path) => root.read(path)), ["2", "2", "2"]);
    await root.remove();
    assertEquals(root.all(), [], `after ${writes} writes`);
  }
});

Deno.test("permissions are those of the list, whatever the umask", async () => {
  using root = new Root();
  await root.install({ ...file("/a/b", "1"), mode: 0o755 });
  assertEquals(Deno.statSync(`${root.path}/a/b`).mode! & 0o7777, 0o755);
  assertEquals(Deno.statSync(`${root.path}/a`).mode! & 0o7777, 0o755);
});

Deno.test("a link of the root that leads out of it is refused", async () => {
  using root = new Root();
  using outside = new Root();
  Deno.symlinkSync(outside.path, `${root.path}/etc`);
  await assertRejects(() => root.install(file("/etc/car", "1")), Error, "leads out of it");
  assertEquals(outside.all(), []);
  Deno.mkdirSync(`${root.path}/usr`);
  Deno.symlinkSync("usr", `${root.path}/lib`);
  assertEquals(await root.install(file("/lib/a", "1")), ["write /lib/a"]);
  assertEquals(root.read("/usr/a"), "1");
});

Deno.test("a folder in a file's place is an error, not removed", async () => {
  using root = new Root();
  root.write("/a/b", "");
  await assertRejects(() => root.install(file("/a", "1")), Error, "not a regular file");
  assertThrows(() => new Disk(`${root.path}/a/b`), Error, "not a folder");
});

Deno.test("a manifest with a line that viola did not write is refused", () => {
  for (const line of ["file\tsha256:1", "file\tsha256:1\ta", "other\t-\t/a", "file\tx\t/../a"]) {
    assertThrows(() => parseManifest(`# head\n${line}\n`), Error, "line 2 is malformed");
  }
});

Deno.test("modules of AGL's driver are found among a kernel's", () => {
  const dep = [
    "kernel/drivers/block/loop.ko:",
    "extra/loopback_driver0.ko.xz: kernel/drivers/virtio/virtio.ko",
    "updates/loopback_driver1.ko:",
    "extra/virtio-loopback-driver.ko:",
    "kernel/sound/drivers/snd-aloop.ko: extra/loopback_driver9.ko",
  ].join("\n");
  const found = ["loopback_driver0", "loopback_driver1", "virtio_loopback_driver"];
  assertEquals(nodeModules(dep), found);
  assertMatch(
    modulesLoad(found),
    /\nloopback_driver0\nloopback_driver1\nvirtio_loopback_driver\n$/,
  );
});

Deno.test("each of viola's own devices is described for QEMU, with a program that runs it", () => {
  const files = systemFiles({ executable: "/x", modules: [], documents: {}, scenes: {} });
  const described = files.filter(({ path }) => path.startsWith("/usr/share/qemu/vhost-user/"));
  assert(described.length > 5);
  for (const { content } of described) {
    const { type, binary } = JSON.parse((content as { text: string }).text);
    const program = files.find(({ path }) => path === binary)!;
    assertEquals(program.mode, 0o755);
    assert(
      (program.content as { text: string }).text.endsWith(`/usr/bin/viola device ${type} "$@"\n`),
    );
  }
  assertEquals(JSON.parse(backEndDescription(sound)).type, "sound");
});

Deno.test("paths are absolute and each is there once", () => {
  const scenes = { "car.toml": "" };
  const paths = systemFiles({ executable: "/x", modules: ["m"], documents: {}, scenes }).map((
    { path },
  ) => path);
  assertEquals(new Set(paths).size, paths.length);
  assertEquals(paths.filter((path) => !/^\/(usr|etc)\/[\w@./-]+$/.test(path)), []);
  assert(
    paths.includes("/etc/viola/car.toml") && paths.includes("/usr/lib/modules-load.d/viola.conf"),
  );
});
