// SPDX-License-Identifier: Apache-2.0
/**
 * A back-end that is another one with something taken away or held up: what passes between the two is passed on, message
 * by message, descriptors and all.
 *
 * @module
 */
import {
  EPOLLIN,
  EPOLLRDHUP,
  type Fd,
  type Reactor,
  UnixListener,
  UnixSocket,
  type Watch,
} from "../../../ffi/mod.ts";
import { MessageReader, type RawMessage } from "../../../lib/vhost_user/framing.ts";
import {
  encodeMessage,
  FRONT_END_MESSAGES,
  type FrontEndMessage,
} from "../../../lib/vhost_user/messages.ts";

/** What a proxy may do to a reply on its way to the front-end: returns the body to pass on. */
export type Edit = (body: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;

/** Takes protocol features out of the reply to GET_PROTOCOL_FEATURES. */
export function without(features: bigint): { GET_PROTOCOL_FEATURES: Edit } {
  return {
    GET_PROTOCOL_FEATURES(body) {
      const view = new DataView(body.buffer);
      view.setBigUint64(0, view.getBigUint64(0, true) & ~features, true);
      return body;
    },
  };
}

/** Stands at `path` for the back-end at `target`. */
export class Proxy implements Disposable {
  /** How many front-ends came. */
  connections = 0;
  readonly #listener: UnixListener;
  readonly #listening: Watch;
  readonly #parts = new Set<Disposable>();

  constructor(
    readonly reactor: Reactor,
    path: string,
    readonly target: string,
    readonly edits: Partial<Record<FrontEndMessage, Edit>> = {},
  ) {
    this.#listener = UnixListener.listen(path);
    this.#listening = reactor.watch(this.#listener.number, EPOLLIN, () => this.#accept());
  }

  #accept(): void {
    const front = this.#listener.accept();
    if (front === null) return;
    this.connections++;
    const back = UnixSocket.connect(this.target);
    const watches: Watch[] = [];
    const end = (): void => {
      for (const watch of watches) watch.close();
      front.close();
      back.close();
      this.#parts.delete(part);
    };
    const part = { [Symbol.dispose]: end };
    this.#parts.add(part);
    const pass = (from: UnixSocket, to: UnixSocket, direction: "requests" | "replies"): void => {
      const reader = new MessageReader(from, direction, "a proxy's side");
      watches.push(this.reactor.watch(from.number, EPOLLIN | EPOLLRDHUP, () => {
        try {
          for (let message = reader.next(); message !== null; message = reader.next()) {
            this.#pass(message, to, direction === "replies");
          }
        } catch {
          reader.discard();
          end(); // either side closed: the other is to know
        }
      }));
    };
    pass(front, back, "requests");
    pass(back, front, "replies");
  }

  #pass({ request, flags, body, fds }: RawMessage, to: UnixSocket, isReply: boolean): void {
    const edit = Object.entries(this.edits).find(([name]) =>
      FRONT_END_MESSAGES[name as FrontEndMessage].request === request
    );
    const passed = isReply && edit !== undefined ? edit[1](body) : body;
    const bytes = encodeMessage(request, flags, passed);
    to.send(bytes, 0, bytes.length, fds.map((fd: Fd) => fd.number));
    for (const fd of fds) fd.close();
  }

  [Symbol.dispose](): void {
    for (const part of [...this.#parts]) part[Symbol.dispose]();
    this.#listening.close();
    this.#listener.close();
  }
}
