// SPDX-License-Identifier: Apache-2.0
/**
 * All that belongs on a system, as a list.
 *
 * @module
 */
import { DEVICE_CLASSES } from "../../lib/classes/mod.ts";
import {
  backEndDescription,
  backEndPath,
  backEndProgram,
  modprobe,
  modulesLoad,
  sysusers,
  tmpfiles,
  udevRules,
  wirePlumber,
} from "./fragments.ts";
import { violaNodeService, violaService } from "./units.ts";

/** What a file is made of: its text, another file's bytes, or the target of a link. */
export type Content =
  | { readonly text: string }
  | { readonly copyOf: string }
  | { readonly link: string };

/** A file of the system. */
export interface SystemFile {
  /** Its absolute path. */
  readonly path: string;
  /** Its permissions; those of a link do not matter. */
  readonly mode: number;
  readonly content: Content;
  /** Settings, which an update leaves where they are. */
  readonly isConfig: boolean;
}

/** Where viola is on a system. */
export const EXECUTABLE = "/usr/bin/viola";
/** AGL's program, whose place it takes. */
const DROP_IN = "/usr/bin/virtio-loopback-adapter";
/** The folder of scene files, which viola.service runs. */
export const CONFIG_FOLDER = "/etc/viola";

/** What is known of the system. */
export interface Target {
  /** The executable to install. */
  readonly executable: string;
  /** Modules of AGL's driver that are there. */
  readonly modules: readonly string[];
  /** Completions and manual pages by their paths. */
  readonly documents: Readonly<Record<string, string>>;
  /** Scene files, by the names that they get. */
  readonly scenes: Readonly<Record<string, string>>;
}

const text = (path: string, text: string, mode = 0o644): SystemFile => ({
  path,
  mode,
  content: { text },
  isConfig: false,
});

/** The list. */
export function systemFiles({ executable, modules, documents, scenes }: Target): SystemFile[] {
  const own = DEVICE_CLASSES.filter(({ roles }) => roles.device !== undefined);
  return [
    { path: EXECUTABLE, mode: 0o755, content: { copyOf: executable }, isConfig: false },
    { path: DROP_IN, mode: 0o777, content: { link: "viola" }, isConfig: false },
    text("/usr/lib/systemd/system/viola.service", violaService(EXECUTABLE)),
    text("/usr/lib/systemd/system/viola@.service", violaNodeService(EXECUTABLE)),
    text("/usr/lib/udev/rules.d/70-viola.rules", udevRules()),
    ...modules.length === 0
      ? []
      : [text("/usr/lib/modules-load.d/viola.conf", modulesLoad(modules))],
    text("/usr/lib/modprobe.d/viola.conf", modprobe()),
    text("/usr/lib/sysusers.d/viola.conf", sysusers()),
    text("/usr/lib/tmpfiles.d/viola.conf", tmpfiles()),
    text("/usr/share/wireplumber/wireplumber.conf.d/50-viola.conf", wirePlumber()),
    ...own.flatMap((one) => [
      text(`/usr/share/qemu/vhost-user/50-viola-${one.name}.json`, backEndDescription(one)),
      text(backEndPath(one.name), backEndProgram(one, EXECUTABLE), 0o755),
    ]),
    ...Object.entries(documents).map(([path, document]) => text(path, document)),
    ...Object.entries(scenes).map(([name, scene]) => ({
      ...text(`${CONFIG_FOLDER}/${name}`, scene),
      isConfig: true,
    })),
  ];
}
