// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { ownService, serviceOf } from "../../../lib/bridge/store/service.ts";

Deno.test("the service that a process is in is the deepest unit of its control group", () => {
  const table: [string, string | null][] = [
    ["0::/system.slice/viola.service\n", "viola.service"],
    ["0::/system.slice/viola@0.service/payload\n", "viola@0.service"],
    ["0::/user.slice/user-0.slice/session-3.scope\n", null],
    ["0::/user.slice/user-1.slice/user@1.service/app.slice/term.scope\n", null],
    ["0::/user.slice/user-1.slice/user@1.service/app.slice/viola.service\n", "viola.service"],
    ["0::/\n", null],
    ["", null],
    ["5:cpu:/other.service\n1:name=systemd:/system.slice/viola.service\n", "viola.service"],
    ["5:cpu:/other.service\n1:name=systemd:/\n", null],
  ];
  for (const [cgroup, service] of table) assertEquals(serviceOf(cgroup), service, cgroup);
  ownService(); // whatever it is
});
