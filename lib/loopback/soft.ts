// SPDX-License-Identifier: Apache-2.0
/**
 * The software loopback device: works like the kernel driver's, without a kernel module. Memory from memfds, eventfds for
 * doorbell, answer and interrupt. The driver's side, which owns all of it, is a {@linkcode SoftNode}; a guest driver uses it
 * through a {@linkcode SoftGuestPort}, viola through a {@linkcode SoftLoopback}.
 *
 * @module
 */
import {
  createMemory,
  Epoll,
  EPOLLET,
  EPOLLIN,
  EPOLLRDHUP,
  EventFd,
  Fd,
  Mapping,
  osError,
  pageSize,
  PeerSignal,
  PeerSocket,
  type Reactor,
  UnixListener,
  UnixSocket,
  viewMemory,
  type Watch,
} from "../../ffi/mod.ts";
import { type Identity, SharedPage } from "./page.ts";
import { type Loopback, type LoopbackPort, ring, type SharedRegion } from "./port.ts";
import { mapNumber } from "./soft_guest_port.ts";
import {
  checkDescriptors,
  EBUSY,
  GUEST_BASE,
  HELLO_BYTES,
  HELLO_MAGIC,
  receiveHello,
} from "./soft_hello.ts";

export { SoftGuestPort } from "./soft_guest_port.ts";
export { GUEST_BASE };

/** The default size of that memory in bytes. Pages are allocated only when touched. */
export const GUEST_MEMORY = 64 * 2 ** 20;

/** A soft device as descriptor numbers, for Workers of the process that owns them. */
export interface SoftWires {
  /** memfd of one page */
  page: number;
  /** memfd of the guest's memory */
  memory: number;
  /** Bytes of it. */
  memorySize: number;
  /** Its guest address. */
  guestBase: number;
  /** eventfd: an access is in the page */
  doorbell: number;
  /** eventfd: it is answered */
  answer: number;
  /** eventfd: an interrupt, or the device was started */
  interrupt: number;
}

/** The driver's side of the device: owns memory and eventfds, and admits one adapter at a time. */
export class SoftNode implements Disposable {
  #page: Fd;
  #memory: Fd;
  #doorbell = EventFd.create();
  #answer = EventFd.create();
  #interrupt = EventFd.create();
  #listener: UnixListener | null = null;
  #listening: Watch | null = null;
  #opener: UnixSocket | null = null;
  #opened: Watch | null = null;
  /** The device for the guest's Worker. */
  readonly wires: SoftWires;

  /**
   * Creates memory and eventfds. Nobody can open the node before {@linkcode listen}.
   *
   * @param memorySize Bytes of guest memory, a multiple of the page size
   * @throws {OsError}
   */
  constructor(memorySize: number = GUEST_MEMORY) {
    this.#page = createMemory("viola-page", pageSize());
    this.#memory = createMemory("viola-memory", memorySize);
    using mapping = Mapping.create(this.#page, pageSize());
    new SharedPage(viewMemory(mapping)).finish();
    this.wires = {
      page: this.#page.number,
      memory: this.#memory.number,
      memorySize,
      guestBase: GUEST_BASE,
      doorbell: this.#doorbell.number,
      answer: this.#answer.number,
      interrupt: this.#interrupt.number,
    };
  }

  /** Whether an adapter has it open, through {@linkcode listen}. */
  get isOpen(): boolean {
    return this.#opener !== null;
  }

  /**
   * Lets adapters of other processes open it as `soft:PATH`, one at a time, EBUSY for the others.
   *
   * @throws {OsError} when the socket cannot be made
   */
  listen(path: string, reactor: Reactor): void {
    const listener = UnixListener.listen(path);
    this.#listener = listener;
    // Edge-triggered: when there is no descriptor for a connection, accepting is tried again when the next one comes.
    this.#listening = reactor.watch(listener.number, EPOLLIN | EPOLLET, () => {
      for (let socket; (socket = admitted(listener)) !== null;) this.#admit(socket, reactor);
    });
  }

  #admit(socket: UnixSocket, reactor: Reactor): void {
    const busy = this.#opener !== null;
    const { page, memory, doorbell, answer, interrupt, guestBase, memorySize } = this.wires;
    const hello = new DataView(new ArrayBuffer(HELLO_BYTES));
    hello.setUint32(0, HELLO_MAGIC, true);
    hello.setUint32(4, busy ? EBUSY : 0, true);
    hello.setFloat64(8, guestBase, true);
    hello.setFloat64(16, memorySize, true);
    const fds = busy ? [] : [page, memory, doorbell, answer, interrupt];
    try {
      socket.send(new Uint8Array(hello.buffer), 0, HELLO_BYTES, fds);
    } catch { /* the peer has closed already: the watch below reports it */ }
    if (busy) return socket.hangUp();
    this.#opener = socket;
    this.#opened = reactor.watch(
      socket.number,
      EPOLLIN | EPOLLRDHUP,
      () => this.#letGo(),
    );
  }

  #letGo(): void {
    this.#opened?.close();
    this.#opener?.hangUp();
    this.#opened = this.#opener = null;
  }

  /** Frees everything; existing mappings of other owners stay valid. */
  close(): void {
    this.#listening?.close();
    this.#listener?.close();
    this.#letGo();
    for (const fd of [this.#page, this.#memory, this.#doorbell, this.#answer, this.#interrupt]) {
      fd.close();
    }
  }

  /** As {@linkcode close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** viola's end of a soft device. */
export class SoftLoopback implements Loopback {
  #fds: Fd[];
  #page: Mapping;
  #memory: Mapping;
  #signal: PeerSignal;
  readonly port: LoopbackPort;
  readonly shares: readonly SharedRegion[];
  /** Infinite: a memfd can be mapped any number of times. */
  readonly backEndLives: number = Infinity;
  readonly kept: readonly number[];
  readonly mappings: number = 0;
  readonly maxQueueSetups: number = Infinity;

  /**
   * @param name As the user named it
   * @param fds The descriptors in `wires`, and others to keep open as long; closed with this object
   */
  constructor(name: string, wires: SoftWires, fds: Fd[]) {
    this.#fds = fds;
    const { guestBase: guest, memorySize: size, memory, doorbell, answer, interrupt } = wires;
    using undo = new DisposableStack();
    this.#page = undo.use(mapNumber(wires.page, pageSize()));
    this.#signal = undo.use(PeerSignal.create());
    this.#memory = mapNumber(memory, size);
    undo.move();
    this.port = {
      name,
      page: this.#page.range,
      doorbell,
      wakeup: { fd: answer, request: 0, argument: null },
      interrupt: { fd: interrupt, request: 0, argument: null },
      setsDone: true,
      memory: [{ guest, ...this.#memory.range }],
      chunks: null,
    };
    this.kept = fds.map(({ number }) => number);
    this.shares = [{ guest, size, offset: 0, fd: memory }];
  }

  /** Opens a node of this process, by its wires. */
  static attach(node: SoftNode): SoftLoopback {
    const copies: Fd[] = [];
    const copy = (number: number): number => {
      const original = new Fd(number);
      const fd = original.duplicate();
      original.release();
      copies.push(fd);
      return fd.number;
    };
    const { wires } = node;
    return new SoftLoopback("soft", {
      ...wires,
      page: copy(wires.page),
      memory: copy(wires.memory),
      doorbell: copy(wires.doorbell),
      answer: copy(wires.answer),
      interrupt: copy(wires.interrupt),
    }, copies);
  }

  /**
   * Opens the node that another process offers at `path`.
   *
   * @param reactor Used to wait for its hello without blocking, since the node may belong to this isolate
   * @param timeoutMs Deadline for the hello, in milliseconds
   * @throws {OsError} ENOENT or ECONNREFUSED (no node there), EBUSY (another adapter has it open), EPROTO (not a soft node)
   */
  static async open(path: string, reactor: Reactor, timeoutMs = 2000): Promise<SoftLoopback> {
    const name = `soft:${path}`;
    const socket = new PeerSocket(UnixSocket.connect(path).release(), path);
    const fds: Fd[] = [socket];
    try {
      await reactor.readable(socket, timeoutMs);
      const hello = receiveHello(socket, name, fds);
      return new SoftLoopback(name, wiresOf(fds, hello.getFloat64(8, true)), fds);
    } catch (error) {
      for (const fd of fds) fd.close();
      throw error;
    }
  }

  /**
   * Restores a node that another process had open.
   *
   * @param fds Copies of its {@linkcode kept}; closed with this object
   * @returns null when the node has ended
   * @throws {OsError} EPROTO when the descriptors do not belong to a node
   */
  static restore(path: string, fds: Fd[]): SoftLoopback | null {
    const name = `soft:${path}`;
    checkDescriptors(`restore ${name}`, fds);
    using epoll = Epoll.create();
    epoll.add(fds[0]!.number, EPOLLRDHUP, 0);
    if (epoll.wait(0) > 0) return null;
    return new SoftLoopback(name, wiresOf(fds, GUEST_BASE), fds);
  }

  start(identity: Identity): void {
    new SharedPage(viewMemory(this.#page)).start(identity);
    ring(this.port.interrupt, this.#signal);
  }

  close(): void {
    this.#page.close();
    this.#memory.close();
    this.#signal.close();
    for (const fd of this.#fds) fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function wiresOf(fds: readonly Fd[], guestBase: number): SoftWires {
  const [page, memory, doorbell, answer, interrupt] = fds.slice(1);
  return {
    page: page!.number,
    memory: memory!.number,
    memorySize: memory!.size(),
    guestBase,
    doorbell: doorbell!.number,
    answer: answer!.number,
    interrupt: interrupt!.number,
  };
}

/** Accepts a connection; null when there is none, or no free descriptor for it. */
function admitted(listener: UnixListener): UnixSocket | null {
  try {
    return listener.accept();
  } catch {
    return null;
  }
}

/** Checks that a path is a socket. @throws {OsError} ENOENT, ENOTSOCK */
export function checkSoftNode(path: string): void {
  let isSocket: boolean | null;
  try {
    ({ isSocket } = Deno.statSync(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw osError(`open soft:${path}`, "ENOENT");
  }
  if (!isSocket) throw osError(`open soft:${path}`, "ENOTSOCK");
}
