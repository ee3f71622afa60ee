// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { WavReader } from "../../../lib/wav/mod.ts";
import { PARAMS } from "./card.ts";

export const { S_OK, S_BAD_MSG, S_NOT_SUPP, S_IO_ERR } = snd;
export const PERIOD = PARAMS.periodBytes;

export function withFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

export function samplesOf(path: string): Uint8Array {
  using reader = WavReader.open(path);
  const samples = new Uint8Array(reader.frames * reader.format.channels * reader.format.bits / 8);
  assertEquals(reader.read(samples), samples.length);
  return samples;
}

export function query(code: number, startId: number, count: number, size: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(snd.QUERY_INFO_SIZE));
  snd.encodeQueryInfo(view, 0, { code, startId, count, size });
  return new Uint8Array(view.buffer);
}

export const ids = (done: { id: number }[]): number[] => done.map(({ id }) => id);
export const statuses = (done: { status: number }[]): number[] => done.map(({ status }) => status);
