// SPDX-License-Identifier: Apache-2.0
/**
 * The work of a file thread: writes what is in a stream's ring to its file, or reads a file ahead into it. One step at a time,
 * so that no stream of the card keeps the others waiting for longer than its disk does.
 *
 * @module
 */
import {
  frameBytes,
  packedFormat,
  packSamples,
  sameWavFormat,
  WavError,
  type WavFormat,
  wavFormatText,
  WavReader,
  WavWriter,
} from "../../wav/mod.ts";
import type { FileAnswer, FileLink, FileRequest } from "./file_link.ts";
import type { OpenFiles } from "./files.ts";
import { remarksOn } from "./check.ts";

/** The most bytes of one step. */
const STEP_BYTES = 2 ** 18;

/** Shared by the links of a thread, which are served one after the other. */
const piece = new Uint8Array(STEP_BYTES);

/** The work for one link. */
export class FileWork implements Disposable {
  #open: Writing | Reading | null = null;

  /** @param files The files of all streams of the card */
  constructor(readonly link: FileLink, readonly files: OpenFiles) {}

  /** Does a part of what there is to do. @returns whether there was anything */
  step(): boolean {
    // What was published before a request comes before it.
    const { request } = this.link;
    if (this.#open?.step() === true) return true;
    if (request === null) return false;
    this.link.reply(this.#carryOut(request));
    return true;
  }

  #carryOut(request: FileRequest): FileAnswer {
    try {
      if (request.kind === "close") {
        this.close();
        return {};
      }
      this.link.ring.follow(request.ringBytes);
      this.link.markEnd(false);
      if (request.kind === "write") {
        this.#open = new Writing(this.link, request, this.files);
        return {};
      }
      const reading = this.#open = new Reading(this.link, request, this.files);
      return { remarks: reading.remarks };
    } catch (error) {
      return { error: (error as Error).message };
    }
  }

  /** Closes the file, if one is open. @throws {Error} */
  close(): void {
    const open = this.#open;
    this.#open = null;
    open?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A sink's file, without padding: few programs read S24_LE from a file correctly, all read packed 24 bits. */
class Writing {
  readonly #link: FileLink;
  readonly #format: WavFormat;
  readonly #writer: WavWriter;
  readonly #use: Disposable;

  constructor(
    link: FileLink,
    { path, append, format }: Extract<FileRequest, { kind: "write" }>,
    files: OpenFiles,
  ) {
    using opened = new DisposableStack();
    const admit = (identity: string) =>
      void opened.use(files.open({ identity, path, isWritten: true }));
    const open = append ? WavWriter.append : WavWriter.create;
    this.#link = link;
    this.#format = format;
    this.#writer = open(path, packedFormat(format), admit);
    this.#use = opened.move();
  }

  /** Whole frames, which the header counts before they leave the ring. */
  step(): boolean {
    const { ring } = this.#link;
    const frame = frameBytes(this.#format);
    const length = Math.min(ring.waiting, STEP_BYTES - STEP_BYTES % frame);
    if (length === 0) return false;
    ring.peek(piece, 0, length);
    try {
      this.#writer.write(packSamples(this.#format, piece.subarray(0, length)));
      this.#writer.commit();
    } catch (error) {
      this.#writer.rollback();
      this.#link.fail((error as Error).message);
    }
    ring.take(length);
    return true;
  }

  close(): void {
    this.#use[Symbol.dispose]();
    this.#writer.close();
  }
}

/** A source's file. */
class Reading {
  readonly remarks: readonly string[];
  readonly #link: FileLink;
  readonly #reader: WavReader;
  readonly #use: Disposable;

  /** @throws {WavError} when its format has changed @throws {SpecError} when another stream writes to it */
  constructor(
    link: FileLink,
    { path, format }: Extract<FileRequest, { kind: "read" }>,
    files: OpenFiles,
  ) {
    using opened = new DisposableStack();
    this.#link = link;
    this.#reader = opened.use(WavReader.open(path));
    const { format: is, identity } = this.#reader;
    if (!sameWavFormat(is, format)) {
      const why = `it holds ${wavFormatText(is)}, expected ${wavFormatText(format)} as before`;
      throw new WavError("capture from", path, why);
    }
    this.#use = files.open({ identity, path, isWritten: false });
    this.remarks = remarksOn(this.#reader);
    opened.move();
  }

  step(): boolean {
    const { ring, isAtEnd } = this.#link;
    const length = Math.min(ring.room, STEP_BYTES);
    if (isAtEnd || length === 0) return false;
    try {
      const read = this.#reader.read(piece.subarray(0, length));
      ring.put(piece, 0, read);
      ring.publish();
      // After the samples: who sees the end sees them, too.
      if (read < length) this.#link.markEnd(true);
    } catch (error) {
      this.#link.markEnd(true);
      this.#link.fail((error as Error).message);
    }
    return true;
  }

  close(): void {
    this.#use[Symbol.dispose]();
    this.#reader.close();
  }
}
