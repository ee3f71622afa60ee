// SPDX-License-Identifier: Apache-2.0
// Workers that do not do what they are told, and the deadlines for that.
import { assertEquals } from "@std/assert";
import { BlockingWorker, EventFd, signalEvent, takeEvent } from "../../../ffi/mod.ts";
import type { FixtureContract } from "../../ffi/worker_fixture.ts";

const FIXTURE = new URL("../../ffi/worker_fixture.ts", import.meta.url);

// What it holds is lost: its set-up's end is not run.
Deno.test("close() of a Worker that hangs ends after its deadline, and rejects every call", async () => {
  using ring = EventFd.create();
  using answer = EventFd.createBlocking();
  using gate = EventFd.createBlocking();
  await using worker = await BlockingWorker.start<FixtureContract>(FIXTURE, {
    name: "fixture",
    init: { ring: ring.number, answer: answer.number },
  });
  const waiting = worker.callWithin(60_000, "block", gate.number).then(String, String);
  takeEvent(answer.number);
  await worker.close();
  assertEquals(await waiting, "Error: fixture was closed before it answered");
  signalEvent(gate.number); // its thread can end now
});
