// SPDX-License-Identifier: Apache-2.0
// A back-end that sends descriptors whose close blocks.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { closesPending, Reactor } from "../../../ffi/mod.ts";
import { connectWithBackoff } from "../../../lib/vhost_user/connect.ts";
import { VhostUserError } from "../../../lib/vhost_user/errors.ts";
import { FrontEnd } from "../../../lib/vhost_user/front_end.ts";
import { encodeMessage, FRONT_END_MESSAGES } from "../../../lib/vhost_user/messages.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { startLingering } from "../../support/lingering.ts";
import { TempFolder, until } from "../../support/process.ts";
import { SOUND } from "../../vhost_user/harness.ts";

const REPLY = encodeMessage(FRONT_END_MESSAGES.GET_FEATURES.request, 0x5, new Uint8Array(8));

Deno.test("a reply with a descriptor that takes ten minutes to close is refused at once", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    const path = folder.file("device");
    await using hostile = startLingering("listen", path, REPLY);
    await hostile.until(() => hostile.stdout.includes("listening"), "the back-end");
    const options = { reactor, name: "card0", deviceClass: SOUND };
    const front = await FrontEnd.connect(path, options);
    const text = "1 descriptors came with the reply";
    await assertRejects(() => front.initialise(), VhostUserError, text);
    assertEquals([closesPending(), closesPending(path)], [1, 1]);
    front.close();

    // It is not connected to again, so that it cannot send more of them, until they are closed.
    const waiting: string[] = [];
    const stop = new AbortController();
    const onWaiting = (_: number, { message }: Error): void => void waiting.push(message);
    const settings = { ...options, signal: stop.signal, onWaiting };
    const again = assertRejects(() => connectWithBackoff(path, settings), Error, "enough");
    await until(() => waiting.length > 0, "word of why it waits");
    assert(waiting[0]!.includes("1 descriptors that it sent are still being closed"), waiting[0]);
    stop.abort(new Error("enough"));
    await again;
    await hostile.stop("SIGKILL");
    await until(() => closesPending(path) === 0, "the close");
  });
});
