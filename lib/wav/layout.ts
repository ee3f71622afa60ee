// SPDX-License-Identifier: Apache-2.0
/**
 * The layout of a file: its chunks up to the samples are read, and the sizes in them are compared with the file's size.
 *
 * @module
 */
import { readAt } from "./file.ts";
import { MAX_FMT_BYTES, parseFmt } from "./fmt.ts";
import { frameBytes, WavError, type WavFormat } from "./format.ts";

const MAX_CHUNKS = 1000;
/** RIFF with sizes of 64 bits: EBU Tech 3306, ITU-R BS.2088. */
const LONG_FORMS = ["RF64", "BW64"];
/** Value of a 32-bit size field when the size is in `ds64`. */
export const SIZE_IN_DS64 = 0xffffffff;
/** Bytes of a `ds64` chunk without a table: sizes of RIFF and `data`, and the count of `fact`, 64 bits each. */
export const DS64_BYTES = 28;
/** Programs that cannot seek back write about one of these as a size, more or less by the size of their header. */
const STREAM_SIZES = [2 ** 31, 2 ** 32];
const STREAM_SLACK = 4096;

/** In each header that viola writes, a LIST chunk: `INFO`, `ISFT` (the software), "viola". */
export const SIGNATURE = Uint8Array.of(
  ...[0x4c, 0x49, 0x53, 0x54, 18, 0, 0, 0, 0x49, 0x4e, 0x46, 0x4f],
  ...[0x49, 0x53, 0x46, 0x54, 6, 0, 0, 0, 0x76, 0x69, 0x6f, 0x6c, 0x61, 0],
);

/** Layout of a file. */
export interface Layout {
  format: WavFormat;
  /** First byte of the samples. */
  dataStart: number;
  /** Bytes of whole frames. */
  dataBytes: number;
  /** Bytes after the last whole frame. */
  rest: number;
  /** Offset of the count in the `fact` chunk, 0 when there is none. */
  factAt: number;
  /** Offset of a `ds64` chunk, or of a `JUNK` chunk with room for one at the place where it belongs; 0: neither. */
  ds64At: number;
  /** Whether the samples are followed by nothing of meaning and all sizes are right, so that samples can be appended. */
  endsWithData: boolean;
  /** What is odd about it, as sentences. */
  remarks: string[];
}

/** Contents of the chunks before the samples. */
interface Head {
  /** Size of the file without its first 8 bytes, by the header. */
  riffSize: number;
  /** Whether sizes may be in `ds64`: RF64, or BW64. */
  isLong: boolean;
  /** Size of the samples by `ds64`; null if there is no such chunk. */
  longDataSize: number | null;
  ds64At: number;
  format: WavFormat | null;
  factAt: number;
  /** Whether viola wrote it. */
  isOurs: boolean;
  remarks: string[];
}

/** The extent of the samples. */
interface Extent {
  bytes: number;
  /** Whether the size is from the header. */
  isCounted: boolean;
  remark: string;
}

/** Reads the chunks up to the samples. @throws {WavError} */
export function readLayout(action: string, path: string, file: Deno.FsFile): Layout {
  const fail = (why: string): never => {
    throw new WavError(action, path, why);
  };
  const fileSize = file.statSync().size;
  const head = readHead(file, fail);
  let at = 12;
  for (let i = 0; i < MAX_CHUNKS; i++) {
    const chunk = readAt(file, at, 8);
    if (chunk.byteLength < 8) return fail(`it ends after ${fileSize} bytes, before its samples`);
    const size = chunk.getUint32(4, true);
    if (fourCharacters(chunk, 0) === "data") {
      if (head.format === null) return fail("its samples come before their format");
      return layoutOf(file, fileSize, { ...head, format: head.format }, at + 8, size);
    }
    readChunk(file, head, at, fourCharacters(chunk, 0), size, fail);
    at += 8 + size + size % 2;
  }
  return fail(`it has more than ${MAX_CHUNKS} chunks before its samples`);
}

function readHead(file: Deno.FsFile, fail: (why: string) => never): Head {
  const riff = readAt(file, 0, 12);
  const isWave = riff.byteLength === 12 && fourCharacters(riff, 8) === "WAVE";
  const form = isWave ? fourCharacters(riff, 0) : "";
  if (!["RIFF", ...LONG_FORMS].includes(form)) fail(notWav(riff));
  return {
    riffSize: riff.getUint32(4, true),
    isLong: LONG_FORMS.includes(form),
    longDataSize: null,
    ds64At: 0,
    format: null,
    factAt: 0,
    isOurs: false,
    remarks: [],
  };
}

function notWav(riff: DataView): string {
  if (riff.byteLength === 0) return "it is empty, expected a WAV file";
  if (riff.byteLength >= 4 && fourCharacters(riff, 0) === "RIFX") {
    return "it is RIFX, expected a RIFF WAVE file";
  }
  return "it is not a WAV file";
}

/** Reads a chunk before the samples. */
function readChunk(
  file: Deno.FsFile,
  head: Head,
  at: number,
  id: string,
  size: number,
  fail: (why: string) => never,
): void {
  if (id === "fmt ") {
    const { format, remark } = parseFmt(readAt(file, at + 8, Math.min(size, MAX_FMT_BYTES)), fail);
    head.format = format;
    if (remark !== "") head.remarks.push(remark);
  } else if (id === "fact" && size >= 4) head.factAt = at + 8;
  else if (id === "JUNK" && at === 12 && size === DS64_BYTES) head.ds64At = at;
  else if (id === "ds64" && size >= DS64_BYTES && head.isLong) {
    const body = readAt(file, at + 8, DS64_BYTES);
    if (body.byteLength < DS64_BYTES) return;
    if (size === DS64_BYTES && at === 12) head.ds64At = at;
    if (head.riffSize === SIZE_IN_DS64) head.riffSize = Number(body.getBigUint64(0, true));
    head.longDataSize = Number(body.getBigUint64(8, true));
  } else if (id === "LIST" && size + 8 === SIGNATURE.length) {
    const chunk = readAt(file, at, SIGNATURE.length);
    const isWhole = chunk.byteLength === SIGNATURE.length;
    head.isOurs = isWhole && SIGNATURE.every((byte, i) => byte === chunk.getUint8(i));
  }
}

function layoutOf(
  file: Deno.FsFile,
  fileSize: number,
  head: Head & { format: WavFormat },
  start: number,
  size: number,
): Layout {
  const counted = size === SIZE_IN_DS64 ? head.longDataSize ?? size : size;
  const isComplete = (behind: number) =>
    behind >= 0 && (head.isOurs || isChunks(file, fileSize, start + counted + counted % 2));
  const extent = extentOf(counted, fileSize - start, isComplete);
  const { bytes } = extent;
  const end = start + bytes + bytes % 2;
  const rest = bytes % frameBytes(head.format);
  const isLast = head.isOurs || end >= fileSize;
  const canGrow = !head.isLong || head.ds64At > 0;
  return {
    format: head.format,
    dataStart: start,
    dataBytes: bytes - rest,
    rest,
    factAt: head.factAt,
    ds64At: head.ds64At,
    endsWithData: extent.isCounted && isLast && canGrow && head.riffSize + 8 === end,
    remarks: [...head.remarks, ...(extent.remark === "" ? [] : [extent.remark])],
  };
}

/**
 * The extent of the samples. The size in the header counts if the file is as long. If the file is shorter, samples end with
 * the file. If the size is 0, or a value of programs that do not know it, samples extend to the end of the file,
 * unless other chunks follow. Samples that viola wrote but did not count, because it was killed, are left out.
 */
function extentOf(
  counted: number,
  available: number,
  isComplete: (behind: number) => boolean,
): Extent {
  const behind = available - counted;
  if (isComplete(behind)) return { bytes: counted, isCounted: true, remark: "" };
  if (isStreamSize(counted)) return { bytes: available, isCounted: false, remark: "" };
  if (counted === 0) {
    const remark = `its header counts no samples, as that of a recorder that was killed: ` +
      `the ${available} bytes behind it are taken for samples`;
    return { bytes: available, isCounted: false, remark };
  }
  if (behind > 0) {
    const remark = `its header counts ${counted} bytes of samples, ` +
      `${behind} fewer than there are: the others are left out`;
    return { bytes: counted, isCounted: true, remark };
  }
  const remark = `its header counts ${counted} bytes of samples, ` +
    `${-behind} more than there are: those are missing`;
  return { bytes: available, isCounted: false, remark };
}

/** Whether a program that could not know the size wrote this. */
function isStreamSize(size: number): boolean {
  return size > Number.MAX_SAFE_INTEGER ||
    STREAM_SIZES.some((stream) => Math.abs(size - stream) <= STREAM_SLACK);
}

/** Whether there is nothing from `at` to the `end` of the file but chunks; the last may lack its pad byte. */
function isChunks(file: Deno.FsFile, end: number, at: number): boolean {
  for (let i = 0; i < MAX_CHUNKS && at < end; i++) {
    const chunk = readAt(file, at, 8);
    if (chunk.byteLength < 8 || !/^[ -~]{4}$/.test(fourCharacters(chunk, 0))) return false;
    const size = chunk.getUint32(4, true);
    at += 8 + size + size % 2;
  }
  return at === end || at === end + 1;
}

/** The four characters that name a chunk. */
export function fourCharacters(view: DataView, at: number): string {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}
