// SPDX-License-Identifier: Apache-2.0
/**
 * A package for Debian, made by dpkg-deb of what `viola install` writes.
 *
 * @module
 */
import { Disk } from "../../cli/install/disk.ts";
import { loadDocuments } from "../../cli/install/documents.ts";
import { type SystemFile, systemFiles } from "../../cli/install/files.ts";
import { run } from "../target/command.ts";

/** What is packed. */
export interface DebianPackage {
  readonly executable: string;
  readonly architecture: "arm64" | "amd64";
  /** viola's version. */
  readonly version: string;
  /** Seconds since 1970: the time of every file. */
  readonly epoch: number;
  /** Who answers for the package, as "NAME <ADDRESS>". */
  readonly maintainer: string;
}

/** Version as Debian orders it: a commit is part of it, and of no distribution's revision. */
export function debianVersion(version: string): string {
  return version.replaceAll("-", "~");
}

/** DEBIAN/control. @param bytes What is installed */
export function controlText(
  { architecture, version, maintainer }: Omit<DebianPackage, "executable" | "epoch">,
  bytes: number,
): string {
  return `Package: viola
Version: ${debianVersion(version)}
Architecture: ${architecture}
Maintainer: ${maintainer}
Installed-Size: ${Math.ceil(bytes / 1024)}
Depends: libc6 (>= 2.27), libgcc-s1
Provides: virtio-loopback-adapter
Conflicts: virtio-loopback-adapter
Section: sound
Priority: optional
Description: virtio devices in user space, for Linux's own drivers
 viola connects the kernel's virtio-loopback device to vhost-user devices, so
 that ordinary programs use sound cards and other devices in user space through
 ordinary Linux drivers, without a hypervisor.
`;
}

/** A restart keeps the nodes, as systemd's descriptor store does; so an update does not disturb a player. */
const SCRIPTS: Readonly<Record<string, string>> = {
  postinst: `#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
if command -v systemd-sysusers >/dev/null; then systemd-sysusers viola.conf; fi
if [ -d /run/systemd/system ]; then
  systemd-tmpfiles --create viola.conf || true
  systemctl daemon-reload || true
  udevadm control --reload || true
  systemctl try-restart viola.service 'viola@*.service' || true
fi
`,
  prerm: `#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
if [ -d /run/systemd/system ]; then
  systemctl stop viola.service 'viola@*.service' || true
fi
`,
  postrm: `#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
`,
};

/** Where Debian has it otherwise. */
function debianPath(path: string): string {
  return path.replace("/usr/share/zsh/site-functions/", "/usr/share/zsh/vendor-completions/");
}

const file = (path: string, text: string, mode = 0o644): SystemFile => ({
  path,
  mode,
  content: { text },
  isConfig: false,
});

function documentsOf({ version, epoch, maintainer }: DebianPackage): SystemFile[] {
  const folder = "/usr/share/doc/viola";
  const date = new Date(1000 * epoch).toUTCString().replace("GMT", "+0000");
  const change = `viola (${debianVersion(version)}) unstable; urgency=medium\n\n` +
    `  * See https://semver.org and CHANGELOG.md of viola.\n\n -- ${maintainer}  ${date}\n`;
  return [
    file(`${folder}/changelog`, change),
    file(`${folder}/copyright`, COPYRIGHT),
    file("/usr/share/lintian/overrides/viola", OVERRIDES),
  ];
}

const COPYRIGHT = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Comment: Deno, V8 and the packages that are compiled in are named in the release's SPDX document.

Files: *
Copyright: 2026 the authors of viola
License: Apache-2.0

License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
`;

/** What lintian need not report, with the reasons. */
const OVERRIDES = `# Deno's run-time image has it in it.
viola: embedded-library *lcms2*
# The package is made without debhelper.
viola: maintainer-script-calls-systemctl *
`;

/** Makes the package. @param output Its file */
export async function makePackage(made: DebianPackage, output: string): Promise<void> {
  const stage = await Deno.makeTempDir({ prefix: "viola-deb-" });
  try {
    await Deno.chmod(stage, 0o755);
    const { executable } = made;
    const documents = await loadDocuments();
    const system = systemFiles({ executable, modules: [], documents, scenes: {} });
    const disk = new Disk(stage);
    for (const one of [...system, ...documentsOf(made)]) {
      await disk.write({ ...one, path: debianPath(one.path) });
    }
    await run(["sh", "-c", "gzip -9n usr/share/man/man?/* usr/share/doc/viola/changelog"], {
      cwd: stage,
    });
    const sums = await run(["sh", "-c", "find usr -type f | sort | xargs md5sum"], { cwd: stage });
    const kib = Number((await run(["du", "-sk", "--apparent-size", stage])).split("\t")[0]);
    await disk.write(file("/DEBIAN/control", controlText(made, 1024 * kib)));
    await disk.write(file("/DEBIAN/md5sums", sums));
    for (const [name, text] of Object.entries(SCRIPTS)) {
      await disk.write(file(`/DEBIAN/${name}`, text, 0o755));
    }
    const env = { SOURCE_DATE_EPOCH: `${made.epoch}` };
    await run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", stage, output], { env });
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}
