// SPDX-License-Identifier: Apache-2.0
/**
 * An input device of the host as the source of events. What the kernel had no room for is made up for: keys and switches that
 * changed meanwhile, and where the axes are.
 *
 * @module
 */
import {
  EPOLLET,
  EPOLLIN,
  EVDEV_NUMBERS,
  EvdevNode,
  OsError,
  type Watch,
  WOULD_BLOCK,
} from "../../../ffi/mod.ts";
import { type DeviceHost, SpecError } from "../../device/role.ts";
import type { Capabilities } from "./capabilities.ts";
import type { EventSource } from "./source.ts";
import {
  type AbsInfo,
  decodeBits,
  decodeDeviceIds,
  DEVIDS_SIZE,
  EVENT_TYPES,
  type InputEvent,
  MOST_PAYLOAD,
  SYN_REPORT,
} from "./wire.ts";

/** What is used of a node: tests have one of their own. */
export type Evdev = Pick<
  EvdevNode,
  "number" | "path" | "get" | "grab" | "read" | "write" | "close"
>;

/** `struct input_event` of 64-bit Linux: 16 bytes of time, u16 type, u16 code, s32 value, of the machine's own byte order. */
export const HOST_EVENT_SIZE = 24;
const TYPE_AT = 16;
/** `struct input_absinfo`: s32 value, minimum, maximum, fuzz, flat, resolution. */
const HOST_ABSINFO_SIZE = 24;
/** Events that are read at once. */
const EVENTS_AT_ONCE = 64;
/** How long to wait before a device that is gone is looked for again, in nanoseconds. */
export const RETRY_NS = 1e9;

const typeOf = (name: keyof typeof EVENT_TYPES): number => EVENT_TYPES[name][0];
const [EV_KEY, EV_ABS, EV_SW] = [typeOf("EV_KEY"), typeOf("EV_ABS"), typeOf("EV_SW")];
/** Types that the driver gets. The host repeats keys itself, and effects of force feedback cannot be passed on. */
const TO_DRIVER: readonly number[] = [EV_KEY, typeOf("EV_REL"), EV_ABS, typeOf("EV_MSC"), EV_SW];
/** Types that the driver sets. */
const FROM_DRIVER: readonly number[] = [typeOf("EV_LED"), typeOf("EV_SND")];
/** The kernel has dropped events. */
const SYN_DROPPED = 3;
/** Axes of multi-touch, which are those of a slot: where they are is told when they move. */
const [FIRST_MT, LAST_MT] = [0x2f, 0x3d];

/** Bytes up to the first NUL. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function serialOf(node: Evdev): string {
  try {
    return textOf(node.get(EVDEV_NUMBERS.EVIOCGUNIQ, MOST_PAYLOAD));
  } catch (error) {
    if (OsError.is(error) && error.code === "ENOENT") return "";
    throw error;
  }
}

/** An axis, and where it is. */
function axisOf(node: Evdev, code: number): { readonly info: AbsInfo; readonly value: number } {
  const bytes = node.get(EVDEV_NUMBERS.EVIOCGABS + code, HOST_ABSINFO_SIZE);
  const [value, min, max, fuzz, flat, res] = new Int32Array(bytes.buffer);
  return { value: value!, info: { min: min!, max: max!, fuzz: fuzz!, flat: flat!, res: res! } };
}

/** What a node is and has. @throws {OsError} */
export function capabilitiesOf(node: Evdev): Capabilities {
  const codes = new Map<number, readonly number[]>();
  for (const type of [...TO_DRIVER, ...FROM_DRIVER]) {
    const list = decodeBits(node.get(EVDEV_NUMBERS.EVIOCGBIT + type, MOST_PAYLOAD));
    if (list.length > 0) codes.set(type, list);
  }
  const axes = (codes.get(EV_ABS) ?? []).map((code) => [code, axisOf(node, code).info] as const);
  return {
    name: textOf(node.get(EVDEV_NUMBERS.EVIOCGNAME, 2 * MOST_PAYLOAD)),
    serial: serialOf(node),
    ids: decodeDeviceIds(new DataView(node.get(EVDEV_NUMBERS.EVIOCGID, DEVIDS_SIZE).buffer))!,
    properties: decodeBits(node.get(EVDEV_NUMBERS.EVIOCGPROP, 4)),
    codes,
    axes: new Map(axes),
  };
}

/** Opens a node, and asks what it is. @throws {SpecError} */
export function openEvdev(path: string, open = EvdevNode.openNode): Capabilities {
  let node: Evdev | null = null;
  try {
    node = open(path);
    return capabilitiesOf(node);
  } catch (error) {
    const { message, code } = error as OsError;
    const hint = code === "EACCES" || code === "EPERM"
      ? "its group may open it: see ls -l"
      : "/proc/bus/input/devices lists those there are";
    throw new SpecError(`${message} (${hint})`, { cause: error });
  } finally {
    node?.close();
  }
}

/** How a node is used. */
export interface EvdevOptions {
  readonly path: string;
  /** Nobody else gets its events meanwhile. */
  readonly isGrabbed: boolean;
  /** Opens it. @throws {OsError} */
  readonly open?: (path: string) => Evdev;
}

/** See the module. */
export class EvdevSource implements EventSource {
  retryAt = Infinity;
  #node: { readonly evdev: Evdev; readonly watch: Watch } | null = null;
  #events: InputEvent[] = [];
  /** Keys and switches that the driver knows to be down, or on. */
  readonly #on = new Map<number, Set<number>>([[EV_KEY, new Set()], [EV_SW, new Set()]]);
  /** LEDs and the like, as the driver has set them. */
  readonly #set = new Map<string, InputEvent>();
  /** Events are of no use until the next report. */
  #isDropping = false;
  readonly #bytes = new Uint8Array(EVENTS_AT_ONCE * HOST_EVENT_SIZE);

  /** @param capabilities As they were when the device was made: another device in its place is not used */
  constructor(
    readonly capabilities: Capabilities,
    readonly options: EvdevOptions,
    readonly host: Pick<DeviceHost, "watch" | "now" | "report">,
  ) {}

  begin(): void {
    this.end();
    this.#open();
  }

  #open(): void {
    const { path, isGrabbed, open = EvdevNode.openNode } = this.options;
    const isRetry = this.retryAt !== Infinity;
    this.retryAt = Infinity;
    using opened = new DisposableStack();
    try {
      const evdev = opened.adopt(open(path), (node) => node.close());
      this.#checkSame(evdev);
      if (isGrabbed) evdev.grab();
      const watch = this.host.watch(evdev.number, EPOLLIN | EPOLLET, () => {});
      opened.move();
      this.#node = { evdev, watch };
    } catch (error) {
      this.retryAt = this.host.now() + RETRY_NS;
      if (!isRetry) this.host.report({ kind: "error", text: (error as Error).message });
      return;
    }
    if (isRetry) this.host.report({ kind: "notice", text: `${path} is used again` });
    for (const event of this.#set.values()) this.#write(event);
    this.#attempt((evdev) => this.#catchUp(evdev));
  }

  /** The driver knows the device as it was. @throws {Error} when it is another one */
  #checkSame(evdev: Evdev): void {
    const { name, ids } = capabilitiesOf(evdev);
    const was = this.capabilities;
    if (name === was.name && JSON.stringify(ids) === JSON.stringify(was.ids)) return;
    throw new Error(`Cannot use ${evdev.path}: it is "${name}" now, expected "${was.name}"`);
  }

  /** Uses the node; one that is gone is let go of. */
  #attempt(use: (evdev: Evdev) => void): void {
    if (this.#node === null) return;
    try {
      use(this.#node.evdev);
    } catch (error) {
      this.host.report({ kind: "error", text: (error as Error).message });
      this.#lose();
    }
  }

  /** The device is gone: nothing of it stays pressed. */
  #lose(): void {
    this.#letGo();
    this.retryAt = this.host.now() + RETRY_NS;
    for (const code of [...this.#on.get(EV_KEY)!]) this.#push({ type: EV_KEY, code, value: 0 });
    this.#push({ type: 0, code: SYN_REPORT, value: 0 });
  }

  #letGo(): void {
    this.#node?.watch.close();
    this.#node?.evdev.close();
    this.#node = null;
    this.#isDropping = false;
  }

  next(): InputEvent | null {
    if (this.#node === null && this.host.now() >= this.retryAt) this.#open();
    while (this.#events.length === 0 && this.#node !== null) {
      const count = this.#node.evdev.read(this.#bytes);
      if (count === WOULD_BLOCK) break;
      this.#attempt((evdev) => {
        if (count <= 0) throw new OsError(`read from ${evdev.path}`, -count || 5);
        this.#take(evdev, count);
      });
    }
    return this.#events.shift() ?? null;
  }

  #take(evdev: Evdev, count: number): void {
    const view = new DataView(this.#bytes.buffer);
    for (let at = TYPE_AT; at < count; at += HOST_EVENT_SIZE) {
      const [type, code] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
      this.#see(evdev, { type, code, value: view.getInt32(at + 4, true) });
    }
  }

  #see(evdev: Evdev, event: InputEvent): void {
    const { type, code } = event;
    if (type === 0 && code === SYN_DROPPED) this.#isDropping = true;
    else if (this.#isDropping) {
      if (type !== 0 || code !== SYN_REPORT) return;
      this.#isDropping = false;
      this.#catchUp(evdev);
    } else if (type === 0) this.#push(event);
    else if (TO_DRIVER.includes(type) && this.capabilities.codes.get(type)?.includes(code)) {
      this.#push(event);
    }
  }

  #push(event: InputEvent): void {
    const { type, code, value } = event;
    const on = this.#on.get(type);
    if (value === 0) on?.delete(code);
    else on?.add(code);
    this.#events.push(event);
  }

  /** Tells the driver what has changed of what it knows. */
  #catchUp(evdev: Evdev): void {
    const before = this.#events.length;
    for (
      const [type, number] of [[EV_KEY, EVDEV_NUMBERS.EVIOCGKEY], [EV_SW, EVDEV_NUMBERS.EVIOCGSW]]
    ) {
      const known = this.capabilities.codes.get(type!) ?? [];
      const now = new Set(known.length === 0 ? [] : decodeBits(evdev.get(number!, MOST_PAYLOAD)));
      for (const code of known) {
        const isOn = now.has(code);
        if (isOn !== this.#on.get(type!)!.has(code)) {
          this.#push({ type: type!, code, value: isOn ? 1 : 0 });
        }
      }
    }
    for (const code of this.capabilities.axes.keys()) {
      if (code >= FIRST_MT && code <= LAST_MT) continue;
      this.#push({ type: EV_ABS, code, value: axisOf(evdev, code).value });
    }
    if (this.#events.length > before) this.#push({ type: 0, code: SYN_REPORT, value: 0 });
  }

  /** LEDs and sounds. */
  set(event: InputEvent): void {
    const { type, code } = event;
    if (!FROM_DRIVER.includes(type) || !this.capabilities.codes.get(type)?.includes(code)) return;
    this.#set.set(`${type} ${code}`, event);
    this.#write(event);
  }

  /** One that cannot be written is written when the device is opened again. */
  #write({ type, code, value }: InputEvent): void {
    const bytes = new Uint8Array(HOST_EVENT_SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint16(TYPE_AT, type, true);
    view.setUint16(TYPE_AT + 2, code, true);
    view.setInt32(TYPE_AT + 4, value, true);
    this.#node?.evdev.write(bytes);
  }

  end(): void {
    this.#letGo();
    this.#events = [];
    this.#set.clear();
    for (const on of this.#on.values()) on.clear();
    this.retryAt = Infinity;
  }
}
