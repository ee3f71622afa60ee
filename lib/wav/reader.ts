// SPDX-License-Identifier: Apache-2.0
/**
 * Reading WAV files from front to back.
 *
 * @module
 */
import { identityOf, openFile, readFully } from "./file.ts";
import { frameBytes, WavError, type WavFormat } from "./format.ts";
import { type Layout, readLayout } from "./layout.ts";

/** Reads a file's samples in order. */
export class WavReader implements Disposable {
  readonly format: WavFormat;
  /** Identity of the file: the same for all its names and links. */
  readonly identity: string;
  /** Number of frames, as of when the file was opened. */
  readonly frames: number;
  /** Bytes after the last whole frame, which are not read. */
  readonly rest: number;
  /** What is odd about the file although it can be read, as sentences, such as missing samples. */
  readonly remarks: readonly string[];
  #file: Deno.FsFile;
  #remaining: number;

  private constructor(readonly path: string, file: Deno.FsFile, layout: Layout, most: number) {
    this.#file = file;
    this.format = layout.format;
    this.identity = identityOf(file);
    this.frames = Math.min(most, layout.dataBytes / frameBytes(layout.format));
    this.rest = layout.rest;
    this.remarks = layout.remarks;
    this.#remaining = this.frames * frameBytes(layout.format);
    file.seekSync(layout.dataStart, Deno.SeekMode.Start);
  }

  /**
   * Opens a file.
   *
   * @param most The most frames to read: a file that is being recorded grows
   * @throws {WavError} when it does not exist, is not a WAV file, or has an unsupported encoding
   */
  static open(path: string, most = Infinity): WavReader {
    const file = openFile("read", path, { read: true });
    try {
      return new WavReader(path, file, readLayout("read", path, file), most);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /**
   * Fills `target` with the next bytes of samples.
   *
   * @returns the bytes read: fewer than asked only at the end of the samples
   * @throws {WavError} when the file has become shorter
   */
  read(target: Uint8Array): number {
    const wanted = Math.min(target.length, this.#remaining);
    const read = readFully(this.#file, target.subarray(0, wanted));
    if (read < wanted) throw new WavError("read", this.path, "it got shorter while it was read");
    this.#remaining -= read;
    return read;
  }

  /** Closes the file. Calling it again does nothing. */
  close(): void {
    if (this.#remaining < 0) return;
    this.#remaining = -1;
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
