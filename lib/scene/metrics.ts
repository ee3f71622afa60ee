// SPDX-License-Identifier: Apache-2.0
/**
 * The state of a scene's devices as metrics, in the text format of Prometheus (version 0.0.4).
 *
 * @module
 */
import type { QUEUE_COUNTERS } from "../virtio/queue_state.ts";
import type { DeviceStatus } from "./status.ts";

/** A metric's labels, and its value. */
type Sample = readonly [labels: string, value: number];

/** States in which a back-end serves the driver. */
const RUNNING = ["running", "resumed"];

/** The counters of a queue that are metrics. */
const QUEUE_METRICS: readonly [
  counter: keyof typeof QUEUE_COUNTERS,
  name: string,
  help: string,
][] = [
  ["chains", "requests", "Requests that the driver offered."],
  ["completions", "completions", "Requests that were returned to the driver."],
  ["kicks", "notifications", "Notifications by the driver."],
  ["calls", "interrupts", "Interrupts for used buffers."],
  ["bytesOut", "device_bytes", "Bytes copied to the back-end."],
  ["bytesIn", "driver_bytes", "Bytes copied to the driver."],
  ["errors", "errors", "Requests that were malformed."],
];

/** All metrics. */
export function metricsText(devices: readonly DeviceStatus[]): string {
  const ofDevices = (value: (device: DeviceStatus) => number): Sample[] =>
    devices.map((device) => [label("device", device.name), value(device)]);
  const ofQueues = (counter: string): Sample[] =>
    devices.flatMap(({ name, queues }) =>
      queues.map((queue): Sample => [
        `${label("device", name)},${label("queue", queue.queue)}`,
        Number(queue[counter] ?? 0),
      ])
    );
  return [
    metric(
      "device_running",
      "gauge",
      "1 while a back-end serves the driver.",
      ofDevices(isRunning),
    ),
    metric(
      "device_outages_total",
      "counter",
      "How often the device was not served.",
      ofDevices(({ outages }) => outages),
    ),
    metric("queue_in_flight", "gauge", "Requests that the back-end has.", ofQueues("inFlight")),
    ...QUEUE_METRICS.map(([counter, name, help]) =>
      metric(`queue_${name}_total`, "counter", help, ofQueues(counter))
    ),
  ].join("");
}

function isRunning({ state }: DeviceStatus): number {
  return Number(RUNNING.includes(state));
}

function metric(name: string, type: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.map(([labels, value]) => `viola_${name}{${labels}} ${value}\n`);
  return `# HELP viola_${name} ${help}\n# TYPE viola_${name} ${type}\n${lines.join("")}`;
}

/** A label, escaped as the format has it. */
function label(name: string, value: string): string {
  const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `${name}="${escaped}"`;
}
