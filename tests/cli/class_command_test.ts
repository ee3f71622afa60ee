// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { failureOf } from "../../cli/class_command.ts";

Deno.test("a class's command ends by what its error is called, whichever copy of the class that is of", () => {
  const rows: [name: string, status: number, message: string][] = [
    ["SpecError", 1, "Cannot x"],
    ["OsError", 2, "Cannot x (viola device lamp --socket s must be running)"],
    ["Error", 3, "Cannot x"],
  ];
  for (const [name, status, message] of rows) {
    const error = Object.assign(new Error("Cannot x"), { name });
    const failure = failureOf(error, "viola device lamp --socket s");
    assertEquals([failure.status, failure.message], [status, message]);
  }
});
