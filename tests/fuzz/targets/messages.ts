// SPDX-License-Identifier: Apache-2.0
/**
 * Payloads of every kind of message. What is read can be written again, and is then read as the same; what cannot be read
 * is refused as a violation of the protocol.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { VhostUserError } from "../../../lib/vhost_user/errors.ts";
import {
  BACK_END_MESSAGES,
  decodeBody,
  FRONT_END_MESSAGES,
  type MessageRow,
} from "../../../lib/vhost_user/messages.ts";
import type { Codec } from "../../../lib/vhost_user/payloads.ts";
import { ANY_U32, anyBytes, expectError, mostly, target, type Verdict } from "../target.ts";

const ROWS: MessageRow[] = [FRONT_END_MESSAGES, BACK_END_MESSAGES].flatMap((table) =>
  Object.values<MessageRow>(table)
);
const CODECS = ROWS.flatMap(({ body, reply }) => reply === null ? [body] : [body, reply]);

interface Input {
  codec: Codec<unknown>;
  body: Uint8Array<ArrayBuffer>;
}

/** Words, since counts and sizes stand in them, and a few bytes more. */
const noise = fc.tuple(fc.array(mostly(fc.nat({ max: 16 }), ANY_U32)), anyBytes(7))
  .map(([words, bytes]) => {
    const all = new Uint8Array(4 * words.length + bytes.length);
    all.set(new Uint8Array(Uint32Array.from(words).buffer));
    all.set(bytes, 4 * words.length);
    return all;
  });

const input: fc.Arbitrary<Input> = fc.constantFrom(...CODECS).chain((codec) => {
  const fitting = noise.map((bytes) => {
    const length = Math.max(codec.min, Math.min(codec.max, bytes.length));
    const body = new Uint8Array(length);
    body.set(bytes.subarray(0, length));
    return body;
  });
  return mostly(fitting, noise).map((body) => ({ codec, body }));
});

function judge({ codec, body }: Input): Verdict {
  let value: unknown;
  try {
    value = decodeBody("the message", codec, body);
  } catch (error) {
    expectError(error, VhostUserError);
    assertEquals((error as VhostUserError).fault, "protocol");
    return "refused";
  }
  const again = codec.encode(value);
  assertEquals(decodeBody("it again", codec, again), value, "expected the same value again");
  assertEquals(again.length, body.length);
  return "accepted";
}

/** See the module. */
export const MESSAGES = target("messages", input, judge);
