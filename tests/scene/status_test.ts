// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import type { BridgeEvent } from "../../lib/bridge/mod.ts";
import { metricsText } from "../../lib/scene/metrics.ts";
import { driverText, SceneStatus } from "../../lib/scene/status.ts";

/** A status that has seen some events, a second apart. */
function seen(...events: [device: string, kind: string][]): SceneStatus {
  let now = 0;
  const status = new SceneStatus(() => now);
  for (const [device, kind] of events) {
    now += 1000;
    status.see({
      device,
      kind: kind as BridgeEvent["kind"],
      text: `${device} is ${kind}`,
      ms: now,
    });
  }
  now += 1000;
  return status;
}

const QUEUE = {
  queue: "tx",
  inFlight: 2,
  kicks: 9,
  chains: 7,
  completions: 5,
  calls: 4,
  bytesOut: 1000,
  bytesIn: 40,
  errors: 1,
};

Deno.test("a device's state is what was last reported of it, and errors change none", () => {
  const status = seen(
    ["a", "started"],
    ["b", "waiting"],
    ["a", "running"],
    ["a", "error"],
    ["b", "failed"],
    ["a", "running"],
  );
  const nothing = { driverStatus: null, queues: [] };
  assertEquals(status.devices([]), [
    { name: "a", state: "running", outages: 0, lastError: "a is error", forMs: 4000, ...nothing },
    { name: "b", state: "failed", outages: 1, lastError: "b is failed", forMs: 2000, ...nothing },
  ]);
});

Deno.test("outages are counted, each once; what was removed is forgotten", () => {
  const status = seen(
    ...["running", "failed", "lost", "failed", "resumed", "lost", "failed"]
      .map((kind): [string, string] => ["a", kind]),
  );
  assertEquals(status.devices([])[0]!.outages, 2);
  status.see({ device: "a", kind: "removed", text: "" });
  assertEquals(status.devices([]), []);
});

Deno.test("counters are those of the device of that name", () => {
  const counters = [{ device: "b", status: 15, queues: [QUEUE] }];
  const [a, b] = seen(["a", "running"], ["b", "running"]).devices(counters);
  assertEquals([a!.driverStatus, a!.queues], [null, []]);
  assertEquals([b!.driverStatus, b!.queues], [15, [QUEUE]]);
});

Deno.test("the driver's status is what it set last", () => {
  const texts = [null, 0, 1, 3, 11, 15, 79, 131].map(driverText);
  assertEquals(texts, [
    "no device yet",
    "no driver",
    "ACKNOWLEDGE",
    "DRIVER",
    "FEATURES_OK",
    "DRIVER_OK",
    "DEVICE_NEEDS_RESET",
    "FAILED",
  ]);
});

Deno.test("metrics are Prometheus' text, with labels escaped", () => {
  const counters = [{ device: 'a"\\', status: 15, queues: [QUEUE] }];
  const text = metricsText(seen(['a"\\', "running"]).devices(counters));
  const lines = text.split("\n");
  assertEquals(lines.slice(0, 3), [
    "# HELP viola_device_running 1 while a back-end serves the driver.",
    "# TYPE viola_device_running gauge",
    'viola_device_running{device="a\\"\\\\"} 1',
  ]);
  assertEquals(lines.filter((line) => line.includes("queue=")), [
    'viola_queue_in_flight{device="a\\"\\\\",queue="tx"} 2',
    'viola_queue_requests_total{device="a\\"\\\\",queue="tx"} 7',
    'viola_queue_completions_total{device="a\\"\\\\",queue="tx"} 5',
    'viola_queue_notifications_total{device="a\\"\\\\",queue="tx"} 9',
    'viola_queue_interrupts_total{device="a\\"\\\\",queue="tx"} 4',
    'viola_queue_device_bytes_total{device="a\\"\\\\",queue="tx"} 1000',
    'viola_queue_driver_bytes_total{device="a\\"\\\\",queue="tx"} 40',
    'viola_queue_errors_total{device="a\\"\\\\",queue="tx"} 1',
  ]);
  assertEquals(lines.at(-1), "");
});
