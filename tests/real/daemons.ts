// SPDX-License-Identifier: Apache-2.0
/**
 * The foreign vhost-user daemons that the tests attach to: which version, and how it gets onto this machine. They lie
 * in the user's cache and are built once per machine:
 *
 *     deno run -A tests/real/daemons.ts
 *
 * @module
 */

/** The crates, with the options of their build. */
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

/** Where they are installed: $XDG_CACHE_HOME/viola/daemons, or the same below ~/.cache. */
function root(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`;
  return `${cache}/viola/daemons`;
}

function installCommand(name: DaemonName): string[] {
  return ["cargo", "install", "--locked", "--root", root(), ...DAEMONS[name]];
}

function isInstalled(name: DaemonName): boolean {
  try {
    const { stdout } = new Deno.Command(`${root()}/bin/${name}`, { args: ["--version"] })
      .outputSync();
    const [, version] = DAEMONS[name][0].split("@");
    return new TextDecoder().decode(stdout).trim() === `${name} ${version}`;
  } catch {
    return false;
  }
}

/**
 * The path of a daemon's executable.
 *
 * @throws {Error} when it is not installed in the version wanted, with the command that installs it
 */
export function daemonPath(name: DaemonName): string {
  if (isInstalled(name)) return `${root()}/bin/${name}`;
  throw new Error(
    `Cannot test with ${DAEMONS[name][0]}: not installed. Run: ${installCommand(name).join(" ")}`,
  );
}

if (import.meta.main) {
  for (const name of Object.keys(DAEMONS) as DaemonName[]) {
    if (isInstalled(name)) continue;
    const [program, ...args] = installCommand(name);
    const { success } = await new Deno.Command(program!, { args }).spawn().status;
    if (!success) Deno.exit(1);
  }
}
