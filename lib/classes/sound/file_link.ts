// SPDX-License-Identifier: Apache-2.0
/**
 * What lies between a stream whose samples are in a file and the thread that reads or writes the file, in shared memory: one
 * request at a time, its answer, and a ring of samples.
 *
 * @module
 */
import type { WavFormat } from "../../wav/mod.ts";
import { ByteRing, MOST_RING_BYTES } from "./byte_ring.ts";

/** What a stream asks of its file thread. */
export type FileRequest =
  | {
    readonly kind: "write";
    readonly path: string;
    readonly append: boolean;
    /** Of the samples in the ring; the file's are without padding. */
    readonly format: WavFormat;
    readonly ringBytes: number;
  }
  | {
    readonly kind: "read";
    readonly path: string;
    /** What the file must hold. */
    readonly format: WavFormat;
    readonly ringBytes: number;
  }
  /** Everything in the ring is written before. */
  | { readonly kind: "close" };

/** The answer to a request. */
export interface FileAnswer {
  /** Why it could not be done, as a sentence. */
  readonly error?: string;
  /** What is odd about a source's file, as sentences. */
  readonly remarks?: readonly string[];
}

// Words. The device writes ASKED and HEARD, the thread the others.
const ASKED = 0;
const DONE = 1;
/** Errors while reading or writing, and how many of them the device has taken. */
const FAILURES = 2;
const HEARD = 3;
/** A source's file has no more samples than those in the ring. */
const IS_AT_END = 4;
const RING = 8;
const WORDS = 10;

/** Room for a text: two paths of 4096 bytes each, escaped, and more. */
const TEXT_BYTES = 2 ** 16;
const REQUEST_AT = 4096;
const ANSWER_AT = REQUEST_AT + TEXT_BYTES;
const FAILURE_AT = ANSWER_AT + TEXT_BYTES;
const DATA_AT = FAILURE_AT + TEXT_BYTES;

/** The shared memory, from both sides. The system gives it pages only where it is written to. */
export class FileLink {
  readonly ring: ByteRing;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param shared The other side's; without it, new memory */
  constructor(readonly shared = new SharedArrayBuffer(DATA_AT + MOST_RING_BYTES)) {
    this.#words = new Int32Array(shared, 0, WORDS);
    this.ring = new ByteRing(
      this.#words.subarray(RING, RING + 2),
      new Uint8Array(shared, DATA_AT, MOST_RING_BYTES),
    );
  }

  /** Whether no request waits for its answer. */
  get isAnswered(): boolean {
    return Atomics.load(this.#words, DONE) === Atomics.load(this.#words, ASKED);
  }

  // ---- the device ----

  /** Asks the thread for something; the last request must have been answered. */
  ask(request: FileRequest): void {
    if (request.kind !== "close") this.ring.begin(request.ringBytes);
    this.#putText(REQUEST_AT, request);
    Atomics.add(this.#words, ASKED, 1);
  }

  /** The answer to the last request. */
  get answer(): FileAnswer {
    return this.#textAt(ANSWER_AT) as FileAnswer;
  }

  /** Whether the ring has, or had, all samples that are left of a source's file. Asked before what is in it. */
  get isAtEnd(): boolean {
    return Atomics.load(this.#words, IS_AT_END) === 1;
  }

  /** Takes an error that came up since last asked, as a sentence; null: there was none. */
  takeFailure(): string | null {
    const failures = Atomics.load(this.#words, FAILURES);
    if (failures === Atomics.load(this.#words, HEARD)) return null;
    const text = this.#textAt(FAILURE_AT) as string;
    Atomics.store(this.#words, HEARD, failures);
    return text;
  }

  // ---- the thread ----

  /** The request that waits for an answer; null: there is none. */
  get request(): FileRequest | null {
    return this.isAnswered ? null : this.#textAt(REQUEST_AT) as FileRequest;
  }

  /** Answers the request. */
  reply(answer: FileAnswer): void {
    this.#putText(ANSWER_AT, answer);
    Atomics.store(this.#words, DONE, Atomics.load(this.#words, ASKED));
  }

  /** Sets {@linkcode isAtEnd}. */
  markEnd(isAtEnd: boolean): void {
    Atomics.store(this.#words, IS_AT_END, Number(isAtEnd));
  }

  /** Tells of an error; those that come before it is taken are part of it. */
  fail(text: string): void {
    const isTaken = Atomics.load(this.#words, FAILURES) === Atomics.load(this.#words, HEARD);
    if (!isTaken) return;
    this.#putText(FAILURE_AT, text);
    Atomics.add(this.#words, FAILURES, 1);
  }

  // ---- texts: their length, then UTF-8 ----

  #putText(at: number, value: unknown): void {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    if (bytes.length > TEXT_BYTES - 4) throw new RangeError(`Cannot pass on ${bytes.length} bytes`);
    new DataView(this.shared).setUint32(at, bytes.length, true);
    new Uint8Array(this.shared, at + 4, bytes.length).set(bytes);
  }

  #textAt(at: number): unknown {
    const length = new DataView(this.shared).getUint32(at, true);
    const bytes = new Uint8Array(this.shared, at + 4, length).slice();
    return JSON.parse(new TextDecoder().decode(bytes));
  }
}
