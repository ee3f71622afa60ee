// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket of a scene: it tells how the devices are, and changes nothing.
 *
 * @module
 */
import type { ControlHandler } from "../device/control_server.ts";
import { metricsText } from "./metrics.ts";
import type { DeviceStatus } from "./status.ts";

/** Answers `{"ask":"status"}` and `{"ask":"metrics"}`. @param devices How they are now */
export function statusHandler(devices: () => DeviceStatus[]): ControlHandler {
  return {
    request: (request, client) => {
      const { ask } = Object(request) as { ask?: unknown };
      if (ask === "status") return client.reply({ devices: devices() });
      if (ask === "metrics") return client.reply({ metrics: metricsText(devices()) });
      throw new Error(
        `Cannot answer ${JSON.stringify(request)}, expected {"ask":"status"} or {"ask":"metrics"}`,
      );
    },
    gone: () => {},
  };
}
