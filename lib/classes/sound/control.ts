// SPDX-License-Identifier: Apache-2.0
/**
 * The sound device's control queue (virtio 1.2 §5.14.6.1 to §5.14.6.7): a request in, a response out.
 *
 * @module
 */
import {
  CHMAP_INFO_SIZE,
  type ChmapInfo,
  decodePcmSetParams,
  decodeQueryInfo,
  encodeChmapInfo,
  encodeJackInfo,
  encodePcmInfo,
  HDR_SIZE,
  JACK_INFO_SIZE,
  JACK_REMAP_SIZE,
  type JackInfo,
  PCM_HDR_SIZE,
  PCM_INFO_SIZE,
  PCM_SET_PARAMS_SIZE,
  QUERY_INFO_SIZE,
  R_CHMAP_INFO,
  R_JACK_INFO,
  R_JACK_REMAP,
  R_PCM_INFO,
  R_PCM_PREPARE,
  R_PCM_RELEASE,
  R_PCM_SET_PARAMS,
  R_PCM_START,
  R_PCM_STOP,
  S_BAD_MSG,
  S_NOT_SUPP,
  S_OK,
} from "./wire.ts";
import type { Stream } from "./stream.ts";

/** The parts of a card. */
export interface Card {
  readonly jacks: readonly JackInfo[];
  readonly streams: readonly Stream[];
  readonly chmaps: readonly ChmapInfo[];
}

/** The most bytes of a request that are read: the largest request. */
export const REQUEST_BYTES: number = PCM_SET_PARAMS_SIZE;

interface Request {
  /** The least bytes of the request. */
  readonly size: number;
  /** @param room The most bytes of the response */
  answer(card: Card, request: DataView, room: number): Uint8Array<ArrayBuffer> | null;
}

/** A request for items of one kind. */
function query<Item>(
  items: (card: Card) => readonly Item[],
  size: number,
  encode: (view: DataView, at: number, item: Item) => void,
): Request {
  return {
    size: QUERY_INFO_SIZE,
    answer(card, request, room) {
      const query = decodeQueryInfo(request, 0);
      const found = items(card).slice(query.startId, query.startId + query.count);
      const bytes = HDR_SIZE + query.count * query.size;
      // Checked before memory of that size is allocated: both factors come from the driver.
      if (found.length !== query.count || query.size === 0 || bytes > room) {
        return statusOnly(S_BAD_MSG);
      }
      return encodeItems(found, query.size, size, encode);
    },
  };
}

/** Items are `size` bytes apart, as the driver asks: a driver of another version of the standard may know shorter or longer ones. */
function encodeItems<Item>(
  items: readonly Item[],
  stride: number,
  size: number,
  encode: (view: DataView, at: number, item: Item) => void,
): Uint8Array<ArrayBuffer> {
  const answer = new Uint8Array(HDR_SIZE + items.length * stride);
  const one = new Uint8Array(size);
  new DataView(answer.buffer).setUint32(0, S_OK, true);
  items.forEach((item, i) => {
    encode(new DataView(one.buffer), 0, item);
    answer.set(one.subarray(0, stride), HDR_SIZE + i * stride);
  });
  return answer;
}

/** A request that changes a stream's state. */
function move(size: number): Request {
  return {
    size,
    answer({ streams }, request) {
      const code = request.getUint32(0, true);
      const stream = streams[request.getUint32(4, true)];
      if (stream === undefined) return statusOnly(S_BAD_MSG);
      const params = code === R_PCM_SET_PARAMS ? decodePcmSetParams(request, 0) : undefined;
      const status = stream.move(code, params);
      return status === null ? null : statusOnly(status);
    },
  };
}

/** No jack offers to be remapped (VIRTIO_SND_JACK_F_REMAP). */
const remap: Request = {
  size: JACK_REMAP_SIZE,
  answer: ({ jacks }, request) =>
    statusOnly(request.getUint32(4, true) < jacks.length ? S_NOT_SUPP : S_BAD_MSG),
};

const REQUESTS: Readonly<Record<number, Request>> = {
  [R_JACK_INFO]: query((card) => card.jacks, JACK_INFO_SIZE, encodeJackInfo),
  [R_JACK_REMAP]: remap,
  [R_PCM_INFO]: query(
    (card) => card.streams.map((stream) => stream.info),
    PCM_INFO_SIZE,
    encodePcmInfo,
  ),
  [R_PCM_SET_PARAMS]: move(PCM_SET_PARAMS_SIZE),
  [R_PCM_PREPARE]: move(PCM_HDR_SIZE),
  [R_PCM_RELEASE]: move(PCM_HDR_SIZE),
  [R_PCM_START]: move(PCM_HDR_SIZE),
  [R_PCM_STOP]: move(PCM_HDR_SIZE),
  [R_CHMAP_INFO]: query((card) => card.chmaps, CHMAP_INFO_SIZE, encodeChmapInfo),
};

function statusOnly(status: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.of(status).buffer);
}

/**
 * Carries out a request.
 *
 * @param request The request's bytes, as many as there are up to {@linkcode REQUEST_BYTES}
 * @param room The most bytes of the response, at least {@linkcode HDR_SIZE}
 * @returns null when it cannot be answered yet, and is to be carried out again later
 */
export function answerControl(
  card: Card,
  request: DataView,
  room: number,
): Uint8Array<ArrayBuffer> | null {
  if (request.byteLength < HDR_SIZE) return statusOnly(S_BAD_MSG);
  const row = REQUESTS[request.getUint32(0, true)];
  if (row === undefined) return statusOnly(S_NOT_SUPP);
  if (request.byteLength < row.size) return statusOnly(S_BAD_MSG);
  return row.answer(card, request, room);
}
