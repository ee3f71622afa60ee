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
  /** What the file is, whatever it is called: the same for all its names and links. */
  readonly identity: string;
  /** Frames to read: those that were there when it was opened. */
  readonly frames: number;
  /** Bytes behind the last whole frame: part of one, and not read. */
  readonly rest: number;
  /** What is odd about the file although it can be read, in words, such as samples that are missing. */
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
   * @param most Frames that are read at most, however many there are: a file that is being recorded has more each time
   * @throws {WavError} when it is absent, no WAV file, or of an encoding not read here
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
