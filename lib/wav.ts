// SPDX-License-Identifier: Apache-2.0
/**
 * WAV files, streamed: read from front to back, written so that the file is valid at every instant.
 *
 * A file is RIFF: `RIFF size WAVE`, then chunks `id size bytes`, each padded to an even length. `fmt ` says how samples
 * lie, `data` holds them. The writer puts samples behind what the header counts, then replaces the whole header by one
 * write: a process killed between the two leaves a valid file without the samples it had not yet counted.
 *
 * @module
 */

/** How samples lie in a file: interleaved, little-endian, `bits` each (8 is unsigned in "pcm"). */
export interface WavFormat {
  readonly encoding: "pcm" | "float" | "alaw" | "mulaw";
  /** Bits that a sample takes: pcm 8, 16, 24, 32; float 32, 64; alaw and mulaw 8. */
  readonly bits: number;
  readonly channels: number;
  /** Frames per second. */
  readonly rate: number;
}

/** A file that cannot be read or written as WAV; the message names it and says why. */
export class WavError extends Error {
  override readonly name = "WavError";

  /**
   * @param action "read" or "write"
   * @param path The file
   * @param why What was found and what was expected
   */
  constructor(action: string, path: string, why: string, options?: ErrorOptions) {
    super(`Cannot ${action} ${path}: ${why}`, options);
  }
}

/** Bytes of one frame: a sample of each channel. */
export function frameBytes(format: WavFormat): number {
  return format.channels * format.bits / 8;
}

/** A format in words, such as "16-bit pcm, 2 channels, 48000 Hz". */
export function wavFormatText({ encoding, bits, channels, rate }: WavFormat): string {
  return `${bits}-bit ${encoding}, ${channels} channel${channels === 1 ? "" : "s"}, ${rate} Hz`;
}

/** Whether samples of one format are samples of the other. */
export function sameWavFormat(a: WavFormat, b: WavFormat): boolean {
  return a.encoding === b.encoding && a.bits === b.bits && a.channels === b.channels &&
    a.rate === b.rate;
}

const TAGS = { pcm: 1, float: 3, alaw: 6, mulaw: 7 } as const;
const TAG_EXTENSIBLE = 0xfffe;
/** Encodings that are met in the wild and not read here, for the message. */
const FOREIGN_TAGS: Record<number, string> = {
  0x02: "MS ADPCM",
  0x11: "IMA ADPCM",
  0x31: "GSM 6.10",
  0x50: "MPEG",
  0x55: "MP3",
};
const BITS: Record<WavFormat["encoding"], readonly number[]> = {
  pcm: [8, 16, 24, 32],
  float: [32, 64],
  alaw: [8],
  mulaw: [8],
};
/** The last 14 bytes of every sub-format of WAVE_FORMAT_EXTENSIBLE; its tag stands before them. */
const SUBFORMAT_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/** Speakers by number of channels, in the order in which their samples lie. */
const CHANNEL_MASKS = [0, 0x4, 0x3, 0x7, 0x33, 0x37, 0x3f, 0x13f, 0x63f];

/** Sizes from here up are what programs write that cannot seek back: sox, arecord and ffmpeg each their own. */
const UNKNOWN_SIZE = 0x7ffff000;
const MAX_CHUNKS = 1000;
const MAX_SIZE = 0xffffffff;
/** Bytes that the kernel writes to a file whole or not at all, even when the process is killed: one page. */
const ATOMIC_WRITE = 4096;

/** Where things lie in a file. */
interface Layout {
  format: WavFormat;
  /** First byte of the samples. */
  dataStart: number;
  /** Bytes of whole frames. */
  dataBytes: number;
  /** Bytes behind the last whole frame. */
  rest: number;
  /** Offset of the count in the `fact` chunk, 0 when there is none. */
  factAt: number;
  /** Whether nothing follows the samples and all sizes are told, so that the file can go on. */
  endsWithData: boolean;
}

// ---- reading ----

/** Reads a file's samples in order. */
export class WavReader implements Disposable {
  readonly format: WavFormat;
  /** Frames in the file. */
  readonly frames: number;
  /** Bytes behind the last whole frame: part of one, and not read. */
  readonly rest: number;
  #file: Deno.FsFile;
  #remaining: number;

  private constructor(readonly path: string, file: Deno.FsFile, layout: Layout) {
    this.#file = file;
    this.format = layout.format;
    this.frames = layout.dataBytes / frameBytes(layout.format);
    this.rest = layout.rest;
    this.#remaining = layout.dataBytes;
    file.seekSync(layout.dataStart, Deno.SeekMode.Start);
  }

  /** @throws {WavError} when it is absent, no WAV file, cut short, or of an encoding not read here */
  static open(path: string): WavReader {
    const file = openFile("read", path, { read: true });
    try {
      return new WavReader(path, file, readLayout("read", path, file));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /**
   * Fills `target` with the next bytes of samples.
   *
   * @returns the bytes read: fewer than asked only at the end of the samples
   * @throws {WavError} when the file got shorter meanwhile
   */
  read(target: Uint8Array): number {
    const wanted = Math.min(target.length, this.#remaining);
    const read = readFully(this.#file, target.subarray(0, wanted));
    if (read < wanted) throw new WavError("read", this.path, "it got shorter while it was read");
    this.#remaining -= read;
    return read;
  }

  /** Closes the file; again is no harm. */
  close(): void {
    if (this.#remaining < 0) return;
    this.#remaining = -1;
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false; // or nobody may look: then opening it says why
  }
}

function openFile(action: string, path: string, options: Deno.OpenOptions): Deno.FsFile {
  try {
    // A FIFO would block the open, and none of this works on a terminal: look first.
    if (!isFile(path, options.create === true)) {
      throw new WavError(action, path, "it is no regular file");
    }
    return Deno.openSync(path, options);
  } catch (error) {
    if (error instanceof WavError) throw error;
    throw new WavError(action, path, reason(error), { cause: error });
  }
}

function isFile(path: string, ifAbsent: boolean): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (ifAbsent && error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}

function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "no such file or directory";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  return (error as Error).message;
}

function readFully(file: Deno.FsFile, target: Uint8Array): number {
  let done = 0;
  while (done < target.length) {
    const n = file.readSync(target.subarray(done));
    if (n === null || n === 0) break;
    done += n;
  }
  return done;
}

function readAt(file: Deno.FsFile, at: number, length: number): DataView<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(at, Deno.SeekMode.Start);
  return new DataView(bytes.buffer, 0, readFully(file, bytes));
}

function text(view: DataView, at: number): string {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}

/** Walks the chunks up to the samples. */
function readLayout(action: string, path: string, file: Deno.FsFile): Layout {
  const fail = (why: string): never => {
    throw new WavError(action, path, why);
  };
  const fileSize = file.statSync().size;
  const riff = readAt(file, 0, 12);
  if (riff.byteLength < 12 || text(riff, 0) !== "RIFF" || text(riff, 8) !== "WAVE") {
    return fail(notWav(riff));
  }
  let format: WavFormat | null = null;
  let factAt = 0;
  let at = 12;
  for (let i = 0; i < MAX_CHUNKS; i++) {
    const chunk = readAt(file, at, 8);
    if (chunk.byteLength < 8) return fail(`it ends after ${fileSize} bytes, before its samples`);
    const id = text(chunk, 0);
    const size = chunk.getUint32(4, true);
    const start = at + 8;
    if (id === "fmt ") format = parseFormat(readAt(file, start, Math.min(size, 40)), fail);
    else if (id === "fact" && size >= 4) factAt = start;
    else if (id === "data") {
      if (format === null) return fail("its samples come before their format");
      const bytes = dataSize(riff.getUint32(4, true), size, fileSize - start, fail);
      const end = start + bytes + bytes % 2;
      const rest = bytes % frameBytes(format);
      return {
        format,
        dataStart: start,
        dataBytes: bytes - rest,
        rest,
        factAt,
        endsWithData: bytes === size && riff.getUint32(4, true) + 8 === end,
      };
    }
    at = start + size + size % 2;
  }
  return fail(`it has more than ${MAX_CHUNKS} chunks before its samples`);
}

function notWav(riff: DataView): string {
  if (riff.byteLength === 0) return "it is empty, expected a WAV file";
  const id = riff.byteLength >= 4 ? text(riff, 0) : "";
  if (id === "RF64" || id === "RIFX") return `it is ${id}, expected a RIFF WAVE file`;
  return "it is no WAV file";
}

/** Bytes of samples: what the chunk says, or all there is when a pipe's writer could not know. */
function dataSize(
  riffSize: number,
  size: number,
  available: number,
  fail: (why: string) => never,
): number {
  if (size <= available && (size > 0 || riffSize > 0)) return size;
  if (size >= UNKNOWN_SIZE || size === 0) return available;
  return fail(`it is cut short: its header counts ${size} bytes of samples, it has ${available}`);
}

function parseFormat(view: DataView, fail: (why: string) => never): WavFormat {
  if (view.byteLength < 16) return fail(`its format has ${view.byteLength} bytes, expected 16`);
  let tag = view.getUint16(0, true);
  if (tag === TAG_EXTENSIBLE) {
    const known = view.byteLength >= 40 &&
      SUBFORMAT_TAIL.every((byte, i) => view.getUint8(26 + i) === byte);
    if (!known) return fail("its extensible format is none of the standard ones");
    tag = view.getUint16(24, true);
  }
  const encoding = (Object.keys(TAGS) as (keyof typeof TAGS)[]).find((key) => TAGS[key] === tag);
  const channels = view.getUint16(2, true);
  const rate = view.getUint32(4, true);
  // The container counts, not the bits used in it: those are its upper ones.
  const bits = 8 * view.getUint16(12, true) / channels;
  if (encoding === undefined) {
    const name = FOREIGN_TAGS[tag] ?? `0x${tag.toString(16).padStart(4, "0")}`;
    return fail(`its encoding is ${name}, expected PCM, float, A-law or mu-law`);
  }
  if (channels === 0 || rate === 0 || !BITS[encoding].includes(bits)) {
    const [used, frame] = [view.getUint16(14, true), view.getUint16(12, true)];
    return fail(
      `its format is impossible: ${encoding}, ${channels} channels, ${rate} Hz, ${used} bits, ${frame} bytes per frame`,
    );
  }
  return { encoding, bits, channels, rate };
}

// ---- writing ----

/** Writes a file of samples. */
export class WavWriter implements Disposable {
  #file: Deno.FsFile;
  #header: DataView<ArrayBuffer>;
  #factAt: number;
  #counted: number;
  #pending = 0;
  #closed = false;

  private constructor(
    readonly path: string,
    readonly format: WavFormat,
    file: Deno.FsFile,
    header: DataView<ArrayBuffer>,
    factAt: number,
    counted: number,
  ) {
    this.#file = file;
    this.#header = header;
    this.#factAt = factAt;
    this.#counted = counted;
  }

  /** Refuses a file that could not be written. One that was not there is not there afterwards. @throws {WavError} */
  static check(path: string): void {
    const isNew = !isThere(path);
    openFile("write", path, { write: true, create: true }).close();
    if (isNew) Deno.removeSync(path);
  }

  /** Begins a file anew, in place of what was there. @throws {WavError} */
  static create(path: string, format: WavFormat): WavWriter {
    const file = openFile("write", path, { write: true, create: true });
    return WavWriter.#begin(path, format, file);
  }

  /**
   * Goes on in a file behind the samples its header counts; what lies beyond was never counted and is dropped. An absent
   * or empty file is begun.
   *
   * @throws {WavError} when it is no WAV file, holds another format, or has something behind its samples
   */
  static append(path: string, format: WavFormat): WavWriter {
    const file = openFile("write", path, { read: true, write: true, create: true });
    if (file.statSync().size === 0) return WavWriter.#begin(path, format, file);
    try {
      return WavWriter.#resume(path, format, file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  static #begin(path: string, format: WavFormat, file: Deno.FsFile): WavWriter {
    const { header, factAt } = buildHeader(format);
    const writer = new WavWriter(path, format, file, header, factAt, 0);
    try {
      writer.#writeHeader(0);
      file.truncateSync(header.byteLength);
    } catch (error) {
      file.close();
      throw new WavError("write", path, reason(error), { cause: error });
    }
    return writer;
  }

  static #resume(path: string, format: WavFormat, file: Deno.FsFile): WavWriter {
    const layout = readLayout("go on in", path, file);
    if (!sameWavFormat(layout.format, format)) {
      const [is, wanted] = [wavFormatText(layout.format), wavFormatText(format)];
      throw new WavError("go on in", path, `it holds ${is}, expected ${wanted}`);
    }
    if (!layout.endsWithData || layout.dataStart > ATOMIC_WRITE) {
      throw new WavError("go on in", path, "it is not a short header and then samples to its end");
    }
    const header = readAt(file, 0, layout.dataStart);
    const writer = new WavWriter(path, format, file, header, layout.factAt, layout.dataBytes);
    writer.#writeHeader(layout.dataBytes);
    writer.#trim();
    return writer;
  }

  /** Bytes of samples that the header counts. */
  get bytes(): number {
    return this.#counted;
  }

  /**
   * Puts samples behind the last. They do not count until {@linkcode commit}.
   *
   * @throws {WavError} when the disk is full, or the file as large as a WAV file can be
   */
  write(samples: Uint8Array): void {
    const end = this.#counted + this.#pending + samples.length;
    if (this.#header.byteLength + end + 1 - 8 > MAX_SIZE) {
      throw new WavError("write", this.path, "it is full: a WAV file holds at most 4 GiB");
    }
    this.#attempt(() => this.#writeAt(this.#dataEnd, samples));
    this.#pending += samples.length;
  }

  /** Counts what was written: from now on it is in the file, whatever happens. @throws {WavError} */
  commit(): void {
    const counted = this.#counted + this.#pending;
    this.#attempt(() => {
      if (counted % 2 === 1) this.#writeAt(this.#dataEnd, new Uint8Array(1));
      this.#writeHeader(counted);
    });
    this.#counted = counted;
    this.#pending = 0;
  }

  /** Forgets what was written and not counted. */
  rollback(): void {
    this.#pending = 0;
  }

  /** Drops what was not counted and closes the file; again is no harm. */
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
    return this.#header.byteLength + this.#counted + this.#pending;
  }

  #trim(): void {
    const end = this.#header.byteLength + this.#counted;
    this.#file.truncateSync(end + end % 2);
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      throw new WavError("write", this.path, reason(error), { cause: error });
    }
  }

  #writeAt(at: number, bytes: Uint8Array): void {
    this.#file.seekSync(at, Deno.SeekMode.Start);
    for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
  }

  /** One write of at most a page, so that no signal can leave half of it. */
  #writeHeader(counted: number): void {
    const header = this.#header;
    const size = header.byteLength;
    header.setUint32(4, size - 8 + counted + counted % 2, true);
    if (this.#factAt > 0) header.setUint32(this.#factAt, counted / frameBytes(this.format), true);
    header.setUint32(size - 4, counted, true);
    this.#writeAt(0, new Uint8Array(header.buffer, 0, size));
  }
}

/** A header that counts nothing yet. Plain where every reader expects it so, extensible where the standard asks for it. */
function buildHeader(format: WavFormat): { header: DataView<ArrayBuffer>; factAt: number } {
  const { encoding, bits, channels, rate } = format;
  const extensible = channels > 2 || (encoding === "pcm" && bits > 16);
  const fmtSize = extensible ? 40 : encoding === "pcm" ? 16 : 18;
  const factAt = encoding === "pcm" ? 0 : 20 + fmtSize + 8;
  const header = new DataView(new ArrayBuffer(20 + fmtSize + (factAt > 0 ? 12 : 0) + 8));
  const put = (at: number, id: string, size: number): void => {
    for (let i = 0; i < 4; i++) header.setUint8(at + i, id.charCodeAt(i));
    header.setUint32(at + 4, size, true);
  };
  put(0, "RIFF", header.byteLength - 8);
  put(8, "WAVE", 0);
  put(12, "fmt ", fmtSize);
  header.setUint16(20, extensible ? TAG_EXTENSIBLE : TAGS[encoding], true);
  header.setUint16(22, channels, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * frameBytes(format), true);
  header.setUint16(32, frameBytes(format), true);
  header.setUint16(34, bits, true);
  if (extensible) {
    header.setUint16(36, 22, true);
    header.setUint16(38, bits, true);
    header.setUint32(40, CHANNEL_MASKS[channels] ?? 0, true);
    header.setUint16(44, TAGS[encoding], true);
    SUBFORMAT_TAIL.forEach((byte, i) => header.setUint8(46 + i, byte));
  }
  if (factAt > 0) put(factAt - 8, "fact", 4);
  put(header.byteLength - 8, "data", 0);
  return { header, factAt };
}
