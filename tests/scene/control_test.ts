// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { statusHandler } from "../../lib/scene/control.ts";
import type { DeviceStatus } from "../../lib/scene/status.ts";

const DEVICE: DeviceStatus = {
  name: "card",
  state: "running",
  forMs: 5,
  outages: 0,
  lastError: null,
  driverStatus: 15,
  queues: [],
};

/** What a request is answered with. */
function ask(request: unknown): object | undefined {
  let answer: object | undefined;
  const client = { tell: () => {}, reply: (value: object) => void (answer = value) };
  statusHandler(() => [DEVICE]).request(request, client);
  return answer;
}

Deno.test("a scene tells how its devices are, and their counters", () => {
  assertEquals(ask({ ask: "status" }), { devices: [DEVICE] });
  const { metrics } = ask({ ask: "metrics" }) as { metrics: string };
  assertEquals(metrics.includes('viola_device_running{device="card"} 1\n'), true);
});

Deno.test("other requests are refused with those that there are", () => {
  for (const request of [null, 1, "status", [], {}, { ask: 1 }, { ask: "constructor" }]) {
    assertThrows(() => ask(request), Error, 'expected {"ask":"status"} or {"ask":"metrics"}');
  }
});
