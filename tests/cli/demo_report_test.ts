// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { machineOf } from "../../cli/demo_report.ts";

Deno.test("a machine is told by its kernel's files", () => {
  const cpus =
    "processor\t: 0\nmodel name\t: Fast CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Fast CPU @ 2 GHz\n";
  assertEquals(
    machineOf({ kernel: "6.12.1-rt\n", cpus, memory: "MemTotal:        2097152 kB\n" }, "x86_64"),
    { kernel: "Linux 6.12.1-rt", CPUs: "2 × Fast CPU @ 2 GHz", memory: "2.0 GiB" },
  );
});

Deno.test("what the kernel does not say is left out: arm64 has no names of models", () => {
  const cpus = "processor\t: 0\nBogoMIPS\t: 48\n";
  assertEquals(machineOf({ kernel: "", cpus, memory: "" }, "aarch64"), { CPUs: "1 × aarch64" });
  assertEquals(machineOf({ kernel: "", cpus: "", memory: "" }, "aarch64"), { CPUs: "aarch64" });
});
