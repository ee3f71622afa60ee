// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { replay } from "../../../lib/classes/console/replay.ts";

/** struct virtio_console_control, byte by byte. */
const control = (id: number, event: number, value: number): number[] => [
  id,
  0,
  0,
  0,
  event,
  0,
  value,
  0,
];

function observed(...messages: number[][]) {
  const role = replay.create(new Uint8Array(replay.stateBytes));
  for (const bytes of messages) {
    role.observe(new DataView(Uint8Array.from(bytes).buffer), bytes.length);
  }
  return role;
}

Deno.test("a new back-end is told that the driver is ready, and of the ports that are set up and open", () => {
  const role = observed(
    control(0, 0, 1),
    control(2, 3, 1),
    control(0, 3, 1),
    control(2, 6, 1),
    control(1, 3, 1),
    control(1, 3, 0),
  );
  assertEquals(role.before(), []);
  const expected = [control(0, 0, 1), control(0, 3, 1), control(2, 3, 1), control(2, 6, 1)];
  assertEquals(role.after().map((bytes) => [...bytes]), expected);
});

Deno.test("a back-end with an open port is not reused after the driver's reset", () => {
  const open = [control(0, 0, 1), control(0, 3, 1), control(0, 6, 1)];
  assertEquals(observed().isClean!(), true);
  assertEquals(observed(...open).isClean!(), false);
  assertEquals(observed(...open, control(0, 6, 0)).isClean!(), true);
});

Deno.test("messages of no port, of no event and of too few bytes leave nothing", () => {
  const huge = [255, 255, 255, 255, 6, 0, 1, 0];
  const role = observed(control(31, 3, 1), huge, control(0, 5, 1), control(0, 0, 1).slice(0, 7));
  assertEquals(role.after(), []);
});
