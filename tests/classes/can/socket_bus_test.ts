// SPDX-License-Identifier: Apache-2.0
// An interface of the host as a bus, with a socket that a test plays: few kernels that tests run on have CAN.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type EventFd, MSG_CONFIRM, WOULD_BLOCK } from "../../../ffi/mod.ts";
import type { BusEvents } from "../../../lib/classes/can/bus.ts";
import { checkInterface, type RawCan, SocketBus } from "../../../lib/classes/can/socket_bus.ts";
import { decodeSocketFrame, encodeSocketFrame } from "../../../lib/classes/can/socket_frame.ts";
import type { CanFrame } from "../../../lib/classes/can/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { frame, rtr } from "./frames.ts";

const [ENODEV, ENETDOWN, ENOBUFS] = [-19, -100, -105];

/** Frames as they lie in `struct can_frame` and `canfd_frame`. */
const FRAMES: [frame: CanFrame, bytes: number[]][] = [
  [frame(0x123, [1, 2]), [0x23, 1, 0, 0, 2, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0]],
  [
    frame(0x1fffffff, [9], { isExtended: true }),
    [0xff, 0xff, 0xff, 0x9f, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
  ],
  [rtr(0x7ff, 8), [0xff, 7, 0, 0x40, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  [
    frame(1, new Array(64).fill(5), { isFd: true }),
    [1, 0, 0, 0, 64, 4, 0, 0, ...new Array(64).fill(5)],
  ],
  [
    frame(1, [5], { isFd: true }),
    [1, 0, 0, 0, 1, 4, 0, 0, 5, ...new Array(63).fill(0)],
  ],
];

Deno.test("frames are written and read as SocketCAN has them", () => {
  for (const [one, bytes] of FRAMES) {
    assertEquals([...encodeSocketFrame(one)], bytes);
    assertEquals(decodeSocketFrame(Uint8Array.from(bytes)), one);
  }
  const bytes = encodeSocketFrame(frame(1));
  assertEquals(decodeSocketFrame(bytes.with(4, 9)), null);
  assertEquals(decodeSocketFrame(bytes.slice(0, 15)), null);
  assertEquals(decodeSocketFrame(bytes.with(3, 0x20)), null, "another error");
  assertEquals(decodeSocketFrame(bytes.with(3, 0x20).with(0, 0x40)), "bus-off");
});

/** A socket that does what it is told. */
class FakeSocket implements RawCan {
  readonly number = 3;
  readonly bound = { number: 4 } as EventFd;
  /** What came of binding it. */
  binding: number | null = 0;
  flags = 0;
  overflows = 0;
  /** What is received: bytes and flags, or an errno. */
  readonly incoming: (readonly [Uint8Array, number] | number)[] = [];
  /** What comes of sending; 0: it is taken. */
  result = 0;
  readonly sent: Uint8Array[] = [];
  isClosed = false;

  takeBound(): number | null {
    return this.binding;
  }

  send(bytes: Uint8Array<ArrayBuffer>): number {
    if (this.result < 0) return this.result;
    this.sent.push(bytes);
    return bytes.length;
  }

  receive(bytes: Uint8Array<ArrayBuffer>): number {
    const next = this.incoming.shift() ?? WOULD_BLOCK;
    if (typeof next === "number") return next;
    [, this.flags] = next;
    bytes.set(next[0]);
    return next[0].length;
  }

  close(): void {
    this.isClosed = true;
  }
}

/** A bus, its socket, and what it tells. */
class Scene implements Disposable {
  readonly socket = new FakeSocket();
  readonly told: unknown[] = [];
  readonly bus: SocketBus;
  #onEvent: () => void = () => {};
  /** The descriptor that is watched. */
  watched: number | null = null;

  constructor(binding: number | null = 0) {
    const tell = (name: string) => (value?: unknown) => void this.told.push([name, value]);
    const events: BusEvents = {
      received: tell("received"),
      isFull: () => false,
      sent: tell("sent"),
      failed: tell("failed"),
      lost: tell("lost"),
      busOff: tell("busOff"),
      report: tell("report"),
    };
    this.bus = new SocketBus("can7", this.socket, events, (number, _, onEvent) => {
      assertEquals(this.watched, null);
      this.watched = number;
      this.#onEvent = () => onEvent(1);
      const close = (): void => void (this.watched = null);
      return { close, [Symbol.dispose]: close };
    });
    if (binding !== null) this.bind(binding);
  }

  /** The socket is bound, or could not be. */
  bind(binding: number | null): void {
    assertEquals(this.watched, 4);
    this.socket.binding = binding;
    this.#onEvent();
  }

  /** Messages or errors come; and what was told since. */
  come(...incoming: FakeSocket["incoming"]): unknown[] {
    this.socket.incoming.push(...incoming);
    this.#onEvent();
    return this.told.splice(0);
  }

  [Symbol.dispose](): void {
    this.bus[Symbol.dispose]();
    assert(this.socket.isClosed && this.watched === null);
  }
}

const from = (one: CanFrame, flags = 0) => [encodeSocketFrame(one), flags] as const;

Deno.test("other controllers' frames are received; the echo of an own frame confirms it", () => {
  using scene = new Scene();
  assertEquals(scene.come(from(frame(1)), from(rtr(2, 3))), [
    ["received", frame(1)],
    ["received", rtr(2, 3)],
  ]);
  assertEquals(scene.bus.send(frame(5)), "accepted");
  assertEquals(scene.bus.send(frame(6)), "accepted");
  const own = from(frame(5), MSG_CONFIRM);
  assertEquals(scene.come(from(frame(5)), own), [["received", frame(5)], ["sent", 1]]);
  assertEquals(scene.socket.sent, [encodeSocketFrame(frame(5)), encodeSocketFrame(frame(6))]);
});

Deno.test("nothing is sent, and no error, until the socket is bound", () => {
  using scene = new Scene(null);
  assertEquals(scene.bus.send(frame(1)), "full");
  scene.bind(null);
  assertEquals([scene.bus.send(frame(1)), scene.watched], ["full", 4]);
  scene.bind(0);
  assertEquals([scene.bus.send(frame(1)), scene.watched], ["accepted", 3]);
  assertEquals(scene.told, []);
});

Deno.test("an interface that the socket cannot be bound to is bus-off", () => {
  using scene = new Scene(ENODEV);
  const text = "Cannot open CAN interface can7: no such device (ENODEV)";
  assertEquals(scene.told, [["busOff", text]]);
  assertEquals(scene.bus.send(frame(1)), "full");
});

Deno.test("a queue that is full is waited for", () => {
  using scene = new Scene();
  for (const result of [WOULD_BLOCK, ENOBUFS]) {
    scene.socket.result = result;
    assertEquals(scene.bus.send(frame(1)), "full");
  }
  assertEquals(scene.told, []);
});

Deno.test("when an interface goes down the accepted frames fail, and it is reported once", () => {
  using scene = new Scene();
  scene.bus.send(frame(1));
  const text = "Cannot receive from CAN interface can7: network is down (ENETDOWN) " +
    "(ip link set can7 up)";
  assertEquals(scene.come(ENETDOWN), [["failed", undefined], ["report", { kind: "error", text }]]);
  scene.socket.result = ENETDOWN;
  assertEquals(scene.bus.send(frame(2)), "failed");
  assertEquals(scene.told.splice(0), [["failed", undefined]]);
  scene.socket.result = 0;
  assertEquals(scene.bus.send(frame(3)), "accepted");
  assertEquals(scene.come(from(frame(3), MSG_CONFIRM)), [["sent", 1]]);
  scene.socket.result = ENETDOWN;
  assertEquals(scene.bus.send(frame(4)), "failed");
  assertEquals(scene.told.length, 2, "down a second time");
});

Deno.test("an interface that is gone, and a controller that is bus-off", () => {
  using scene = new Scene();
  const text = "Cannot receive from CAN interface can7: no such device (ENODEV)";
  assertEquals(scene.come(ENODEV), [["busOff", text]]);
  const busOff = encodeSocketFrame(frame(0)).with(3, 0x20).with(0, 0x40);
  const told = scene.come([busOff, 0], from(frame(1)));
  assertEquals(told, [["busOff", "The controller of can7 is bus-off"]]);
});

Deno.test("messages that the host lost are counted, and no confirmation among them is waited for", () => {
  using scene = new Scene();
  scene.bus.send(frame(1));
  scene.bus.send(frame(2));
  scene.socket.overflows = 4;
  assertEquals(scene.come(from(frame(9))), [["lost", 4], ["sent", 2], ["received", frame(9)]]);
  const late = from(frame(2), MSG_CONFIRM);
  assertEquals(scene.come(late), [["sent", 0]], "told already");
});

Deno.test("unconfirmed frames make the bus full, and use no more memory", () => {
  using scene = new Scene();
  let accepted = 0;
  while (scene.bus.send(frame(1)) === "accepted") accepted++;
  assertEquals(accepted, 1024);
  scene.come(from(frame(1), MSG_CONFIRM));
  assertEquals(scene.bus.send(frame(1)), "accepted");
});

Deno.test("an interface that is not there is refused, with what to try", () => {
  const { message } = assertThrows(() => checkInterface("viola-none"), SpecError);
  assert(/CAN.*\((E\w+)\) \((ip link|the kernel needs)/.test(message), message);
});
