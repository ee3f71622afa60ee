// SPDX-License-Identifier: Apache-2.0
/**
 * How an embedded console is to be, and what it tells its owner.
 *
 * @module
 */
import {
  type DeviceContract,
  type DeviceEvent,
  type DeviceHost,
  SpecError,
} from "../../device/role.ts";
import { type HostEnd, NOWHERE } from "./host_end.ts";
import { checkLink, PtyEnd } from "./pty_end.ts";
import { tcpEnd, unixEnd } from "./socket_end.ts";
import { StdioEnd } from "./stdio_end.ts";
import { MAX_PORTS, type TerminalSize } from "./wire.ts";

/** How a console is to be. An end is one of `stdio`, `pty`, `pty:LINK`, `unix:PATH`, `tcp:ADDRESS:PORT` and `null`. */
export interface ConsoleSpec {
  /** The end of port 0, the console. @default {"null"} */
  console?: string;
  /** Further ports, as `NAME=END`. Without any, the device has the console only, and no control queues. */
  ports?: readonly string[];
  /** The console's size where its end has none, as `COLSxROWS`. @default {"80x24"} */
  size?: string;
}

/** What a console reports, besides what every device does. */
export type ConsoleEvent =
  | DeviceEvent & {
    /** Where a port is, when the device starts; then whether a program is connected to it. */
    readonly kind: "port";
    readonly port: number;
    readonly isOpen: boolean;
  }
  | DeviceEvent & {
    readonly kind: "dropped";
    readonly port: number;
    /** Bytes of output that were lost, since the device was made. */
    readonly bytes: number;
  };

/** What a port is now. */
export interface PortState {
  readonly id: number;
  readonly name: string;
  /** Where it is, such as "at /run/console (/dev/pts/3)". */
  readonly place: string;
  /** Whether a program of the host is connected. */
  readonly isHostOpen: boolean;
  /** Whether the driver has it open. */
  readonly isGuestOpen: boolean;
  /** Bytes of output that were lost. */
  readonly dropped: number;
}

/** What a console and its owner agree on. */
export interface ConsoleDeviceContract extends DeviceContract {
  spec: ConsoleSpec;
  calls: {
    /** All ports. */
    ports(): PortState[];
    /** The console has another size, unless its end knows its own. */
    resize(cols: number, rows: number): void;
  };
  event: ConsoleEvent;
}

/** A further port, as the specification has it. */
export interface PortSpec {
  readonly name: string;
  readonly end: string;
}

/** A name that udev can make a link of. */
const NAME = /^[\w][\w.:+-]{0,63}$/;
const SIZE = /^(\d{1,5})x(\d{1,5})$/;
const TCP = /^tcp:(?:\[([\da-fA-F:.]+)\]|([\d.]+)):(\d{1,5})$/;
const ENDS = "stdio, pty, pty:LINK, unix:PATH, tcp:ADDRESS:PORT or null";

/** Reads `NAME=END`. @throws {SpecError} */
export function parsePort(text: string): PortSpec {
  const at = text.indexOf("=");
  const [name, end] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  if (NAME.test(name)) return { name, end };
  throw new SpecError(
    `Cannot make port "${text}": expected NAME=END, its name up to 64 letters, digits, "_", ".", ":", "+" or "-"`,
  );
}

/** The size of a console without a terminal. @throws {SpecError} */
export function sizeOf({ size = "80x24" }: ConsoleSpec): TerminalSize {
  const [, cols, rows] = SIZE.exec(size)?.map(Number) ?? [];
  if (cols! > 0 && cols! < 65536 && rows! > 0 && rows! < 65536) {
    return { cols: cols!, rows: rows! };
  }
  throw new SpecError(`Cannot use size "${size}": expected COLSxROWS, such as 80x24`);
}

/** Checks what can be checked before it is opened. @throws {SpecError} */
function checkEnd(end: string): void {
  if (["null", "stdio", "pty"].includes(end)) return;
  const value = end.slice(end.indexOf(":") + 1);
  if (end.startsWith("pty:") && value !== "") return checkLink(value);
  if (end.startsWith("unix:") && value !== "") return;
  const [, , , port] = TCP.exec(end) ?? [];
  if (port !== undefined && Number(port) < 65536) return;
  throw new SpecError(`Cannot connect a port to "${end}": expected ${ENDS}`);
}

/** @throws {SpecError} */
export function checkConsole(spec: ConsoleSpec): void {
  const { console = "null", ports = [] } = spec;
  sizeOf(spec);
  const all = ports.map(parsePort);
  if (all.length >= MAX_PORTS) {
    throw new SpecError(`Cannot make ${all.length} ports, expected up to ${MAX_PORTS - 1}`);
  }
  const names = new Set<string>();
  for (const { name } of all) {
    if (names.has(name)) throw new SpecError(`Cannot make two ports of the name ${name}`);
    names.add(name);
  }
  const ends = [console, ...all.map(({ end }) => end)];
  ends.forEach(checkEnd);
  const places = ends.filter((end) => end.includes(":") || end === "stdio");
  const twice = places.find((end, i) => places.indexOf(end) !== i && !end.endsWith(":0"));
  if (twice !== undefined) throw new SpecError(`Cannot connect two ports to ${twice}`);
}

/** Opens an end. @throws {SpecError} when it cannot be opened */
export function openEnd(end: string, host: DeviceHost<ConsoleEvent>): HostEnd {
  const watch: typeof host.watch = (...args) => host.watch(...args);
  try {
    if (end === "null") return NOWHERE;
    if (end === "stdio") return new StdioEnd({ watch });
    if (end === "pty") return new PtyEnd({ watch });
    if (end.startsWith("pty:")) return new PtyEnd({ watch }, end.slice("pty:".length));
    if (end.startsWith("unix:")) return unixEnd(end.slice("unix:".length), host);
    const [, v6, v4, port] = TCP.exec(end)!;
    return tcpEnd(v6 ?? v4!, Number(port), host);
  } catch (error) {
    if (SpecError.is(error)) throw error;
    throw new SpecError((error as Error).message, { cause: error });
  }
}
