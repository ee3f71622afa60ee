// SPDX-License-Identifier: Apache-2.0
/**
 * Writing WAV files so that they are valid at every instant: samples are written after those that the header counts, then
 * the whole header is replaced by one write. A process killed between the two leaves a valid file without the samples that
 * were not counted yet.
 *
 * A file that grows beyond 4 GiB becomes RF64 (EBU Tech 3306): its header has room for 64-bit sizes from the beginning.
 *
 * @module
 */
import { identityOf, openFile, readAt, reason, writeAt } from "./file.ts";
import { buildFmt } from "./fmt.ts";
import { frameBytes, sameWavFormat, WavError, type WavFormat, wavFormatText } from "./format.ts";
import {
  DS64_BYTES,
  fourCharacters,
  type Layout,
  readLayout,
  SIGNATURE,
  SIZE_IN_DS64,
} from "./layout.ts";

/** The most bytes that the kernel writes completely or not at all, even when the process is killed: one page. */
const ATOMIC_WRITE = 4096;
/** Largest RIFF size that is written as such: those above are, nearly, what others write for "unknown". */
const MAX_RIFF_SIZE = SIZE_IN_DS64 - 2 * 4096;

/** A header, and the offsets of the sizes in it. */
interface Header {
  bytes: DataView<ArrayBuffer>;
  /** Offset of the count in the `fact` chunk, 0 when there is none. */
  factAt: number;
  /** Offset of the `JUNK` chunk that can become `ds64`, 0 when there is none. */
  ds64At: number;
}

/** Allows a file to be written to, or throws. */
export type Admission = (identity: string) => void;

/** A file that can be written; it exists as long as this object does. */
export interface WavProbe extends Disposable {
  /** As {@linkcode WavReader.identity}. */
  readonly identity: string;
}

/** Writes a file of samples. */
export class WavWriter implements Disposable {
  #file: Deno.FsFile;
  #header: Header;
  #counted: number;
  #pending = 0;
  #closed = false;

  private constructor(
    readonly path: string,
    readonly format: WavFormat,
    file: Deno.FsFile,
    header: Header,
    counted: number,
  ) {
    this.#file = file;
    this.#header = header;
    this.#counted = counted;
  }

  /**
   * Checks that a file can be written, and keeps it until the result is disposed of; a file that did not exist before
   * is then removed.
   *
   * @throws {WavError} when it cannot be written
   */
  static probe(path: string): WavProbe {
    const isNew = !isThere(path);
    using file = openFile("write", path, { write: true, create: true });
    // By its real path: the new file may be the target of a link.
    const [identity, real] = [identityOf(file), Deno.realPathSync(path)];
    return { identity, [Symbol.dispose]: () => isNew && Deno.removeSync(real) };
  }

  /**
   * Creates a file, or overwrites it.
   *
   * @param admit Called with the file's {@linkcode WavReader.identity} before anything is changed; throws to refuse it
   * @throws {WavError}
   */
  static create(path: string, format: WavFormat, admit?: Admission): WavWriter {
    const file = openFile("write", path, { write: true, create: true });
    admitFile(file, admit);
    return WavWriter.#begin(path, format, file);
  }

  /**
   * Appends to a file, after the samples that its header counts; samples that viola wrote but did not count are dropped.
   * Creates an absent or empty file.
   *
   * @param admit As {@linkcode WavWriter.create}'s
   * @throws {WavError} when it is not a WAV file, holds another format, or has something behind its samples
   */
  static append(path: string, format: WavFormat, admit?: Admission): WavWriter {
    const file = openFile("write", path, { read: true, write: true, create: true });
    admitFile(file, admit);
    if (file.statSync().size === 0) return WavWriter.#begin(path, format, file);
    try {
      return WavWriter.#resume(path, format, file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  static #begin(path: string, format: WavFormat, file: Deno.FsFile): WavWriter {
    const header = buildHeader(format);
    const writer = new WavWriter(path, format, file, header, 0);
    try {
      writer.#writeHeader(0);
      file.truncateSync(header.bytes.byteLength);
    } catch (error) {
      file.close();
      throw new WavError("write", path, reason(error), { cause: error });
    }
    return writer;
  }

  static #resume(path: string, format: WavFormat, file: Deno.FsFile): WavWriter {
    const layout = readLayout("append to", path, file);
    const why = whyNotResumed(layout, format);
    if (why !== "") throw new WavError("append to", path, why);
    const { dataStart, dataBytes, factAt, ds64At } = layout;
    const bytes = readAt(file, 0, dataStart);
    const writer = new WavWriter(path, format, file, { bytes, factAt, ds64At }, dataBytes);
    writer.#writeHeader(dataBytes);
    writer.#trim();
    return writer;
  }

  /** Bytes of samples that the header counts. */
  get bytes(): number {
    return this.#counted;
  }

  /**
   * Writes samples after the last ones. They are not counted until {@linkcode commit}.
   *
   * @throws {WavError} when the disk is full, or a file that cannot become RF64 as large as it can be
   */
  write(samples: Uint8Array): void {
    const end = this.#dataEnd + samples.length;
    if (this.#header.ds64At === 0 && end + 1 - 8 > MAX_RIFF_SIZE) {
      const why = "it is full: without room for a ds64 chunk in its header it holds at most 4 GiB";
      throw new WavError("write", this.path, why);
    }
    this.#attempt(() => writeAt(this.#file, this.#dataEnd, samples));
    this.#pending += samples.length;
  }

  /** Counts the samples that were written: from now on they are part of the file. @throws {WavError} */
  commit(): void {
    const counted = this.#counted + this.#pending;
    this.#attempt(() => {
      if (counted % 2 === 1) writeAt(this.#file, this.#dataEnd, new Uint8Array(1));
      this.#writeHeader(counted);
    });
    this.#counted = counted;
    this.#pending = 0;
  }

  /** Forgets samples that were written and not counted. */
  rollback(): void {
    this.#pending = 0;
  }

  /** Drops samples that were not counted and closes the file. Calling it again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (this.#pending > 0) this.#trim();
    } finally {
      this.#file.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  get #dataEnd(): number {
    return this.#header.bytes.byteLength + this.#counted + this.#pending;
  }

  #trim(): void {
    const end = this.#header.bytes.byteLength + this.#counted;
    this.#file.truncateSync(end + end % 2);
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      throw new WavError("write", this.path, reason(error), { cause: error });
    }
  }

  /** One write of at most a page, so that no signal can leave half of it. */
  #writeHeader(counted: number): void {
    putSizes(this.#header, counted, counted / frameBytes(this.format));
    writeAt(
      this.#file,
      0,
      new Uint8Array(this.#header.bytes.buffer, 0, this.#header.bytes.byteLength),
    );
  }
}

function admitFile(file: Deno.FsFile, admit: Admission | undefined): void {
  try {
    admit?.(identityOf(file));
  } catch (error) {
    file.close();
    throw error;
  }
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false; // or no permission: opening the file reports that
  }
}

/** Why samples of this format cannot be appended to those of a file; empty when they can. */
function whyNotResumed(layout: Layout, format: WavFormat): string {
  if (!sameWavFormat(layout.format, format)) {
    return `it holds ${wavFormatText(layout.format)}, expected ${wavFormatText(format)}`;
  }
  if (layout.endsWithData && layout.dataStart <= ATOMIC_WRITE) return "";
  const remarks = layout.remarks.map((remark) => `; ${remark}`).join("");
  return `it is not a short header followed by samples only${remarks}`;
}

/** A header that counts nothing yet. */
function buildHeader(format: WavFormat): Header {
  const fmt = buildFmt(format);
  const isPcm = format.encoding === "pcm";
  const chunks = [
    chunk("JUNK", new Uint8Array(DS64_BYTES)),
    chunk("fmt ", fmt),
    ...(isPcm ? [] : [chunk("fact", new Uint8Array(4))]),
    SIGNATURE,
    chunk("data", new Uint8Array(0)),
  ];
  const riff = Uint8Array.of(...ascii("RIFF"), 0, 0, 0, 0, ...ascii("WAVE"));
  const bytes = Uint8Array.from([riff, ...chunks].flatMap((piece) => [...piece]));
  const ds64At = riff.length;
  const factAt = isPcm ? 0 : ds64At + 8 + DS64_BYTES + 8 + fmt.length + 8;
  return { bytes: new DataView(bytes.buffer), factAt, ds64At };
}

function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

/** A chunk whose body has an even length. */
function chunk(id: string, body: Uint8Array): Uint8Array {
  const size = new Uint8Array(Uint32Array.of(body.length).buffer);
  return Uint8Array.of(...ascii(id), ...size, ...body);
}

/** Writes the sizes of `data` bytes and `frames` frames of samples into a header, in 32 bits each if they fit. */
function putSizes({ bytes, factAt, ds64At }: Header, data: number, frames: number): void {
  const riff = bytes.byteLength - 8 + data + data % 2;
  const isLong = ds64At > 0 && (riff > MAX_RIFF_SIZE || fourCharacters(bytes, ds64At) === "ds64");
  if (isLong) putLongSizes(bytes, ds64At, riff, data, frames);
  const put = (at: number, size: number) => bytes.setUint32(at, isLong ? SIZE_IN_DS64 : size, true);
  put(4, riff);
  if (factAt > 0) put(factAt, frames);
  put(bytes.byteLength - 4, data);
}

/** Turns a header into that of an RF64 file; BW64 stays BW64. */
function putLongSizes(
  bytes: DataView,
  ds64At: number,
  riff: number,
  data: number,
  frames: number,
): void {
  if (fourCharacters(bytes, 0) === "RIFF") putText(bytes, 0, "RF64");
  putText(bytes, ds64At, "ds64");
  const sizes = [riff, data, frames];
  sizes.forEach((size, i) => bytes.setBigUint64(ds64At + 8 + 8 * i, BigInt(size), true));
  bytes.setUint32(ds64At + 8 + 24, 0, true); // no table of other large chunks
}

function putText(bytes: DataView, at: number, text: string): void {
  ascii(text).forEach((code, i) => bytes.setUint8(at + i, code));
}
