// SPDX-License-Identifier: Apache-2.0
/**
 * What tests, demo and emulated machine need of the machine they run on: Debian's packages, the foreign vhost-user daemons
 * (crates.io) and the oldest Deno that is served (PyPI). This is the only list; set_up.ts installs from it.
 *
 * @module
 */

/** What a machine can be set up for, each with those whose needs are its own, too. */
export const PURPOSES = {
  demo: [],
  test: ["demo"],
  target: ["demo"],
  ci: ["demo", "test", "target"],
} as const;
/** What a machine is set up for. */
export type Purpose = keyof typeof PURPOSES;

/**
 * Debian's packages by what first needs them, each with what shows that it is there whoever installed it: a program on
 * the path, or a file.
 */
export const PACKAGES: Record<Purpose, Record<string, string>> = {
  demo: { // the shim
    "gcc": "cc",
    "libc6-dev": "/usr/include/stdio.h",
    "linux-libc-dev": "/usr/include/linux/types.h",
  },
  test: {
    "alsa-utils": "/usr/share/sounds/alsa/Noise.wav", // recordings
    "sox": "sox", // a second opinion on WAV files
    "pipewire": "pipewire", // a sound server for the real daemon
    "pipewire-bin": "pw-play",
    "wireplumber": "wireplumber",
    "git": "git",
    "python3": "python3",
    "strace": "strace", // how processes are started
    "qemu-system-common": "qemu-storage-daemon", // a foreign disk
    "systemd": "systemd-analyze", // what it thinks of viola's units
    "man-db": "man", // and of its manual pages
    "zsh": "zsh", // completions
    "fish": "fish",
  },
  target: {
    "gcc-aarch64-linux-gnu": "aarch64-linux-gnu-gcc", // the executable and the kernel module
    "libc6-dev-arm64-cross": "/usr/aarch64-linux-gnu/include/stdio.h",
    "python3-pip": "pip3", // fetches the run-time image
    "qemu-system-arm": "qemu-system-aarch64",
    "make": "make",
    "cpio": "cpio",
    "xz-utils": "xz",
    "kmod": "depmod",
  },
  ci: {},
};

/** What building the daemons takes, once; the compiler comes with the shim's. */
export const DAEMON_PACKAGES: Record<string, string> = {
  "pkg-config": "pkg-config",
  "clang": "clang",
  "libpipewire-0.3-dev": "/usr/include/pipewire-0.3",
};

/** The foreign daemons: each crate with its version and the options of its build. */
export const DAEMONS = {
  "vhost-device-rng": ["vhost-device-rng@0.1.0"],
  "vhost-device-sound": [
    "vhost-device-sound@0.3.0",
    "--no-default-features",
    "--features",
    "pw-backend",
  ],
} as const;
/** A daemon's name. */
export type DaemonName = keyof typeof DAEMONS;

/** The oldest Deno that runs viola. */
export const OLDEST_DENO = "2.6.10";

/** viola's own folder in the user's cache: $XDG_CACHE_HOME/viola, or ~/.cache/viola. */
export function cacheFolder(): string {
  return `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/viola`;
}

/** Where the oldest Deno is, once it is installed. */
export function oldestDeno(): string {
  return `${cacheFolder()}/deno-${OLDEST_DENO}/bin/deno`;
}

/** The folder that daemons are installed in, as cargo's --root. */
export function daemonRoot(): string {
  return `${cacheFolder()}/daemons`;
}

/** Whether a daemon is installed in the version wanted. */
export function isDaemonInstalled(name: DaemonName): boolean {
  const [, version] = DAEMONS[name][0].split("@");
  return firstLine(`${daemonRoot()}/bin/${name}`, "--version") === `${name} ${version}`;
}

/**
 * The path of a daemon's executable.
 *
 * @throws {Error} when it is not installed in the version wanted, with the command that installs it
 */
export function daemonPath(name: DaemonName): string {
  if (isDaemonInstalled(name)) return `${daemonRoot()}/bin/${name}`;
  throw new Error(`Cannot test with ${DAEMONS[name][0]}: not installed. Run: deno task set-up`);
}

/** What a program prints first; "" when it is not there or fails. */
export function firstLine(program: string, ...args: string[]): string {
  try {
    const { success, stdout } = new Deno.Command(program, { args, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).split("\n")[0]!.trim() : "";
  } catch {
    return "";
  }
}
