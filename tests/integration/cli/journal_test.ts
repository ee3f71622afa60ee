// SPDX-License-Identifier: Apache-2.0
// Errors in a service's journal.
import { assert, assertEquals } from "@std/assert";
import { TempFolder } from "../../support/process.ts";
import { violaBy } from "./viola.ts";

Deno.test("in the journal each line of an error has a priority", async () => {
  await using folder = await TempFolder.create();
  const log = folder.file("log");
  for (const [stream, priority] of [["$(stat -c %d:%i $LOG)", "<3>"], ["1:1", ""]]) {
    const script = `: >$LOG; JOURNAL_STREAM=${stream} exec "$@" 2>$LOG`;
    await using process = violaBy(script, ["attach", "-x"], { env: { LOG: log } });
    assertEquals((await process.end()).code, 1, process.report());
    const lines = Deno.readTextFileSync(log).trimEnd().split("\n");
    assert(lines.every((line) => /^(<3>)?viola: Cannot /.test(line)), lines.join("\n"));
    assert(lines.every((line) => line.startsWith("<") === (priority !== "")), lines.join("\n"));
  }
});
