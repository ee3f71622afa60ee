// SPDX-License-Identifier: Apache-2.0
/**
 * What must be there for a scene to work, in the order in which it would fail: each check looks, and changes nothing.
 *
 * @module
 */
import type { NodeUse, RamRange } from "../lib/loopback/mod.ts";
import { type Scene, type SceneDevice, SOFT } from "../lib/scene/mod.ts";
import { DESCRIPTORS_OF_DEVICE } from "./install/units.ts";
import { counted } from "./report.ts";

/** What a check found. */
export interface Finding {
  /** What was looked at. */
  readonly what: string;
  /** `note`: it may matter, and nothing fails by it alone. */
  readonly state: "ok" | "note" | "missing";
  /** What is there, and why it matters. */
  readonly text: string;
  /** What to do about it; null: nothing has to be done. */
  readonly todo: string | null;
}

/** The parts of the system that are looked at. */
export interface System {
  /** The text of a file. @throws {Error} */
  read(path: string): string;
  /** The names in a folder, none if there is no such folder. */
  list(path: string): string[];
  env(name: string): string | undefined;
  /** Whether a node of AGL's driver was opened; it is not opened to find out. @throws {Error} if there is none */
  nodeUse(path: string): NodeUse;
  /** What listens at the path of a soft device. @throws {Error} if nothing does */
  checkSoft(path: string): void;
  /** @throws {Error} when the addresses are hidden */
  ramRanges(text: string): RamRange[];
  /** Asks the back-end of a device what it is. @returns in words @throws {Error} when none answers */
  askBackEnd(device: SceneDevice, socket: string): Promise<string>;
}

const ok = (what: string, text: string): Finding => ({ what, state: "ok", text, todo: null });
const note = (what: string, text: string, todo: string | null): Finding => ({
  what,
  state: "note",
  text,
  todo,
});
const missing = (what: string, text: string, todo: string): Finding => ({
  what,
  state: "missing",
  text,
  todo,
});

/** Looks at all of it. @param scene What shall run; null: nothing in particular, and only AGL's nodes are needed */
export async function examine(system: System, scene: Scene | null): Promise<Finding[]> {
  const devices = scene?.devices ?? [];
  const findings = [
    ...nodes(system, scene),
    ...memory(system, scene),
    ...drivers(system, devices),
    ...lanes(system, scene),
    ...store(system, devices),
    ...sound(system, devices),
  ];
  for (const device of devices) findings.push(...await backEnd(system, device));
  return findings;
}

const isAgl = (loopback: string): boolean => loopback.startsWith("/dev/");

// ---- where the drivers are ----

function nodes(system: System, scene: Scene | null): Finding[] {
  if (scene !== null) {
    return scene.devices.map(({ attachment }) => node(system, attachment.loopback));
  }
  const names = system.list("/dev").filter((name) => /^loopback(-\d+)?$/.test(name));
  if (names.length > 0) return names.map((name) => node(system, `/dev/${name}`));
  const text = "there is no node of AGL's driver: Linux's drivers reach viola by one only";
  return [
    missing("kernel side", text, "load the driver's module: modprobe virtio-loopback-driver"),
  ];
}

function node(system: System, loopback: string): Finding {
  const what = loopback;
  if (loopback === SOFT) return ok(what, "a software driver, which viola demo starts");
  try {
    if (!isAgl(loopback)) {
      system.checkSoft(loopback.slice("soft:".length));
      return ok(what, "a software device listens");
    }
    const use = system.nodeUse(loopback);
    if (use.kind === "unopened") return ok(what, "a node of AGL's driver, never opened");
    if (use.kind === "open") {
      return ok(what, `a node of AGL's driver, process ${use.pid} has it open`);
    }
    const text =
      "the node was closed, which AGL's driver does not survive: it cannot be opened again";
    return missing(what, text, "restart the machine");
  } catch (error) {
    const todo = isAgl(loopback)
      ? "load the driver's module: modprobe virtio-loopback-driver"
      : "start what makes the software device";
    return missing(what, (error as Error).message, todo);
  }
}

function memory(system: System, scene: Scene | null): Finding[] {
  const isNeeded = scene === null ||
    scene.devices.some(({ attachment: { loopback, memory } }) =>
      isAgl(loopback) && memory === "isolated"
    );
  if (!isNeeded) return [];
  try {
    const ranges = system.ramRanges(system.read("/proc/iomem"));
    return [ok("/proc/iomem", `the driver's memory is in ${counted(ranges.length, "range")}`)];
  } catch (error) {
    return [
      missing("/proc/iomem", (error as Error).message, "run viola as root, or with CAP_SYS_ADMIN"),
    ];
  }
}

// ---- Linux's drivers ----

/** Drivers are loaded by the kernel when the device appears, so one that is not loaded yet is there all the same. */
function drivers(system: System, devices: readonly SceneDevice[]): Finding[] {
  const classes = new Set(
    devices.filter(({ attachment }) => isAgl(attachment.loopback)).map(({ attachment }) =>
      attachment.class
    ),
  );
  if (classes.size === 0) return [];
  const release = attempt(() => system.read("/proc/sys/kernel/osrelease").trim()) ?? "";
  const files = ["modules.alias", "modules.builtin.modinfo"];
  const texts = files.map((name) =>
    attempt(() => system.read(`/lib/modules/${release}/${name}`)) ?? ""
  );
  if (texts.every((text) => text === "")) {
    const text =
      `/lib/modules/${release} says nothing of modules: whether the drivers exist is unknown`;
    return [note("drivers", text, "look for them in the kernel's configuration")];
  }
  return [...classes].map(({ id, name }) => {
    const what = `driver of ${name}`;
    const alias = new RegExp(
      `virtio:d${id.toString(16).toUpperCase().padStart(8, "0")}v\\*(?: (\\S+))?`,
    );
    const [, module] = texts.map((text) => alias.exec(text)).find((found) => found !== null) ??
      [null, null];
    if (module !== null) {
      return ok(what, module === undefined ? "built into the kernel" : `module ${module}`);
    }
    const text =
      `Linux ${release} has no driver for virtio devices of id ${id}: nobody would use the device`;
    return missing(what, text, "enable it in the kernel's configuration, or install its module");
  });
}

// ---- lanes ----

function lanes(system: System, scene: Scene | null): Finding[] {
  const wishes = scene?.lanes ?? [];
  const online = cpusIn(attempt(() => system.read("/sys/devices/system/cpu/online")) ?? "");
  const found = wishes.flatMap(({ name, cpus = [] }) => {
    const absent = online.size === 0 ? [] : cpus.filter((cpu) => !online.has(cpu));
    if (absent.length === 0) return [];
    const text = `CPU ${absent.join(", ")} is not there; the lane would not start`;
    return [missing(`lane ${name}`, text, `choose from CPUs ${[...online].join(", ")}`)];
  });
  const isUrgent = wishes.some(({ realtime }) => realtime !== undefined);
  return isUrgent ? [...found, realtime(system)] : found;
}

const CAP_SYS_NICE = 1n << 23n;

function realtime(system: System): Finding {
  const what = "real-time priority";
  const [, capabilities] =
    /^CapEff:\s*([0-9a-f]+)/m.exec(attempt(() => system.read("/proc/self/status")) ?? "") ?? [];
  const limit = /^Max realtime priority +(\S+)/m.exec(
    attempt(() => system.read("/proc/self/limits")) ?? "",
  )?.[1];
  const isCapable = (BigInt(`0x${capabilities ?? "0"}`) & CAP_SYS_NICE) !== 0n;
  if (!isCapable && (limit === undefined || limit === "0")) {
    const todo = "run viola as root, with CAP_SYS_NICE, or with LimitRTPRIO= in its unit";
    return missing(what, "this user may not have any; the lane would not start", todo);
  }
  const isPreemptRt = attempt(() => system.read("/sys/kernel/realtime").trim()) === "1";
  if (isPreemptRt) return ok(what, "allowed, and the kernel is PREEMPT_RT");
  return ok(what, "allowed; the kernel is not PREEMPT_RT, so its own work can delay a lane");
}

/** "0-3,6" as numbers. */
function cpusIn(text: string): Set<number> {
  const ranges = text.trim().split(",").filter((range) => range !== "");
  return new Set(ranges.flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
  }));
}

// ---- what outlives viola ----

function store(system: System, devices: readonly SceneDevice[]): Finding[] {
  const kept =
    devices.filter(({ attachment: { loopback, keep } }) => keep ?? isAgl(loopback)).length;
  if (kept === 0) return [];
  const what = "descriptor store";
  if (system.env("NOTIFY_SOCKET") === undefined) {
    const text =
      "not in a service of systemd: a process of viola's own keeps the devices while no viola runs";
    return [ok(what, text)];
  }
  const most = Number(system.env("FDSTORE") ?? "0");
  if (most >= kept * DESCRIPTORS_OF_DEVICE) return [ok(what, `systemd's, for ${most} descriptors`)];
  const text = `systemd would keep ${most} descriptors; ${counted(kept, "device")} may need ` +
    `${kept * DESCRIPTORS_OF_DEVICE}, and what is not kept cannot be restored`;
  return [note(what, text, `FileDescriptorStoreMax=${kept * DESCRIPTORS_OF_DEVICE} in the unit`)];
}

// ---- sound ----

const LIBRARY_FOLDERS = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];

function sound(system: System, devices: readonly SceneDevice[]): Finding[] {
  if (!devices.some(({ attachment }) => attachment.class.name === "sound")) return [];
  const folders = LIBRARY_FOLDERS.flatMap((folder) => [
    folder,
    ...system.list(folder).filter((name) => name.endsWith("-linux-gnu")).map((name) =>
      `${folder}/${name}`
    ),
  ]);
  const hasAlsa = folders.some((folder) => system.list(folder).includes("libasound.so.2"));
  const runtime = system.env("XDG_RUNTIME_DIR");
  const hasPipeWire = runtime !== undefined && system.list(runtime).includes("pipewire-0");
  return [
    hasAlsa ? ok("ALSA", "libasound.so.2 is installed") : note(
      "ALSA",
      "libasound.so.2 is not installed: players such as aplay need it",
      "install alsa-lib",
    ),
    hasPipeWire
      ? ok("PipeWire", `it listens in ${runtime}`)
      : note("PipeWire", "no server listens for this user", "start it if a device plays to it"),
  ];
}

// ---- back-ends ----

async function backEnd(system: System, device: SceneDevice): Promise<Finding[]> {
  const { name, server } = device;
  const what = `back-end of ${name}`;
  if (server.kind === "own") return [ok(what, "viola's own")];
  try {
    return [ok(what, await system.askBackEnd(device, server.socket))];
  } catch (error) {
    const { message } = error as Error;
    if (server.command !== null) {
      return [note(what, `${message}; its command starts it`, null)];
    }
    return [missing(what, message, "start the daemon, or give its command in the file")];
  }
}

function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
