// SPDX-License-Identifier: Apache-2.0
/**
 * Malformed requests and buffers of the sound device, as a table, on rings that are valid.
 */
import * as snd from "../../lib/classes/sound/wire.ts";

/** A malformed message of the sound device, in a valid ring. */
export interface MessageFault {
  readonly name: string;
  /** The queue's index. */
  readonly queue: number;
  /** What the device reads. */
  readonly request: Uint8Array;
  /** How much it may write. */
  readonly room: number;
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export const MESSAGE_FAULTS: readonly MessageFault[] = [
  ...[
    ["no request at all", words()],
    ["half a code", new Uint8Array(2)],
    ["a code that is none", words(0x4242)],
    ["a status for a code", words(snd.S_OK)],
    ["a query cut short", words(snd.R_PCM_INFO, 0)],
    ["a query from beyond the last stream", words(snd.R_PCM_INFO, 99, 1, snd.PCM_INFO_SIZE)],
    ["a query whose end wraps", words(snd.R_PCM_INFO, 0xffffffff, 2, snd.PCM_INFO_SIZE)],
    ["a query for 4 GiB of streams", words(snd.R_PCM_INFO, 0, 0xffffffff, snd.PCM_INFO_SIZE)],
    ["a query with items of size 0", words(snd.R_PCM_INFO, 0, 1, 0)],
    ["a query with items of 4 GiB", words(snd.R_JACK_INFO, 0, 1, 0xffffffff)],
    ["parameters cut short", words(snd.R_PCM_SET_PARAMS, 0, 4096)],
    ["parameters of stream 99", words(snd.R_PCM_SET_PARAMS, 99, 4096, 1024, 0, 0x00070502)],
    ["a period of 0", words(snd.R_PCM_SET_PARAMS, 0, 4096, 0, 0, 0x00070502)],
    ["a buffer smaller than its period", words(snd.R_PCM_SET_PARAMS, 0, 64, 4096, 0, 0x00070502)],
    ["0 channels", words(snd.R_PCM_SET_PARAMS, 0, 4096, 1024, 0, 0x00070500)],
    ["a format that is none", words(snd.R_PCM_SET_PARAMS, 0, 4096, 1024, 0, 0x0007ff02)],
    ["a rate that is none", words(snd.R_PCM_SET_PARAMS, 0, 4096, 1024, 0, 0x00ff0502)],
    ["a start of what was never prepared", words(snd.R_PCM_START, 0)],
    ["a stop of what never ran", words(snd.R_PCM_STOP, 0)],
    ["a release of stream 4 billion", words(snd.R_PCM_RELEASE, 0xffffffff)],
  ].map(([name, request]) => ({
    name: name as string,
    queue: snd.VQ_CONTROL,
    request: request as Uint8Array,
    room: 64,
  })),
  {
    name: "no room for the answer",
    queue: snd.VQ_CONTROL,
    request: words(snd.R_PCM_PREPARE, 0),
    room: 0,
  },
  {
    name: "room for half an answer",
    queue: snd.VQ_CONTROL,
    request: words(snd.R_PCM_PREPARE, 0),
    room: 2,
  },
  {
    name: "room for less than what is asked for",
    queue: snd.VQ_CONTROL,
    request: words(snd.R_PCM_INFO, 0, 2, snd.PCM_INFO_SIZE),
    room: 10,
  },
  { name: "sound for stream 99", queue: snd.VQ_TX, request: words(99, 1, 2, 3), room: 8 },
  { name: "sound with half a header", queue: snd.VQ_TX, request: new Uint8Array(3), room: 8 },
  { name: "sound without sound", queue: snd.VQ_TX, request: words(0), room: 8 },
  { name: "sound for the capture stream", queue: snd.VQ_TX, request: words(1, 1), room: 8 },
  { name: "sound with no room for the status", queue: snd.VQ_TX, request: words(0, 1), room: 4 },
  { name: "room for sound of stream 99", queue: snd.VQ_RX, request: words(99), room: 72 },
  { name: "room for a status and no sound", queue: snd.VQ_RX, request: words(1), room: 8 },
  { name: "room for sound without a header", queue: snd.VQ_RX, request: words(), room: 72 },
];
