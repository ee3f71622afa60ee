// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  MAX_MESSAGE,
  type Reply,
  type Request,
} from "../../../lib/bridge/store/protocol.ts";

const REQUESTS: [Request, string][] = [
  [{ verb: "take", name: "a" }, "56445331 00 00 0100 61"],
  [{ verb: "put", name: "/dev/loopback-7" }, "56445331 01 00 0f00 2f6465762f6c6f6f706261636b2d37"],
  [{ verb: "remove", name: "soft:ü" }, "56445331 02 00 0700 736f66743ac3bc"],
  [{ verb: "has", name: "\ufeffa" }, "56445331 03 00 0400 efbbbf61"],
];

const REPLIES: [Reply, string][] = [
  [{ verdict: "done", text: "" }, "56445331 00 00 0000"],
  [{ verdict: "nothing", text: "" }, "56445331 01 00 0000"],
  [{ verdict: "in use", text: "" }, "56445331 02 00 0000"],
  [{ verdict: "refused", text: "no" }, "56445331 03 00 0200 6e6f"],
  [{ verdict: "exhausted", text: "" }, "56445331 04 00 0000"],
];

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.replaceAll(" ", "").match(/../g) ?? [], (text) => parseInt(text, 16));
}

Deno.test("requests and replies have these bytes", () => {
  for (const [request, hex] of REQUESTS) {
    assertEquals(encodeRequest(request), bytesOf(hex) as Uint8Array<ArrayBuffer>);
    assertEquals(decodeRequest(bytesOf(hex)), request);
  }
  for (const [reply, hex] of REPLIES) {
    assertEquals(encodeReply(reply), bytesOf(hex) as Uint8Array<ArrayBuffer>);
    assertEquals(decodeReply(bytesOf(hex)), reply);
  }
});

Deno.test("a name has 1 to 255 bytes, and of a reply's text so many are sent", () => {
  const longest = "x".repeat(255);
  assertEquals(decodeRequest(encodeRequest({ verb: "has", name: longest })).name, longest);
  assertEquals(encodeRequest({ verb: "has", name: longest }).length, MAX_MESSAGE);
  for (const [name, bytes] of [["", 0], ["x".repeat(256), 256], ["ü".repeat(128), 256]] as const) {
    const error = assertThrows(() => encodeRequest({ verb: "has", name }), RangeError);
    assertEquals(error.message.endsWith(`it has ${bytes} bytes, expected 1 to 255`), true);
  }
  const reply = decodeReply(encodeReply({ verdict: "refused", text: "ü".repeat(200) }));
  assertEquals(reply.text, "ü".repeat(127), "no character is cut in two");
});

Deno.test("a message is whole and as it must be, or malformed", () => {
  const table: [hex: string, reason: string][] = [
    ["", "0 bytes, expected 8 or more"],
    ["56445331 00 00 00", "7 bytes, expected 8 or more"],
    ["57445331 00 00 0100 61", "magic 0x31534457, expected 0x31534456"],
    ["7b22646f 22 3a 2274", "magic 0x6f64227b, expected 0x31534456"],
    ["56445331 00 01 0100 61", "1 in byte 5, expected 0"],
    ["56445331 00 00 0200 61", "9 bytes, expected 10 by its length"],
    ["56445331 00 00 0000 61", "9 bytes, expected 8 by its length"],
    ["56445331 00 00 0100 61 56445331 00 00 0100 61", "18 bytes, expected 9 by its length"],
    [`56445331 00 00 0001 ${"61".repeat(256)}`, "a text of 256 bytes, expected 255 at most"],
    ["56445331 00 00 0100 ff", "a text that is not UTF-8, expected UTF-8"],
    ["56445331 00 00 0200 c3 61", "a text that is not UTF-8, expected UTF-8"],
  ];
  for (const [hex, reason] of table) {
    for (const [what, decode] of [["request", decodeRequest], ["reply", decodeReply]] as const) {
      const error = assertThrows(() => decode(bytesOf(hex)), TypeError);
      assertEquals(error.message, `Cannot read a descriptor store's ${what}: ${reason}`);
    }
  }
  const [unknownVerb, unnamed] = ["56445331 04 00 0100 61", "56445331 00 00 0000"];
  assertThrows(() => decodeRequest(bytesOf(unknownVerb)), TypeError, "verb 4, expected 0 to 3");
  assertThrows(() => decodeRequest(bytesOf(unnamed)), TypeError, "a name of 0 bytes, expected 1");
  assertThrows(
    () => decodeReply(bytesOf("56445331 05 00 0000")),
    TypeError,
    "verdict 5, expected 0 to 4",
  );
});
