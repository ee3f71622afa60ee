// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { LineControl } from "../../../lib/classes/gpio/control.ts";
import { SimulatedLines } from "../../../lib/classes/gpio/simulated.ts";
import * as wire from "../../../lib/classes/gpio/wire.ts";
import type { ControlClient } from "../../../lib/device/control_server.ts";

class FakeClient implements ControlClient {
  readonly got: object[] = [];

  tell(value: object): void {
    this.got.push(value);
  }

  reply(value: object): void {
    this.got.push(value);
  }
}

/** Lines "A" and "2", and one without a name. */
class Scene {
  now = 0;
  /** Lines whose interrupt the driver has not handled. */
  readonly busy = new Set<number>();
  readonly lines = new SimulatedLines(["A", "2", ""], () => {});
  readonly control = new LineControl(
    this.lines,
    (line) => !this.busy.has(line),
    () => this.now,
  );
  readonly client = new FakeClient();

  /** What is answered at once. */
  ask(request: unknown, client = this.client): object[] {
    this.control.request(request, client);
    return client.got.splice(0);
  }

  drive(line: number): void {
    this.lines.use(line, { direction: wire.DIRECTION_OUT, value: 1, edges: 0 });
  }
}

const A = { line: 0, name: "A", direction: "none", value: 0 };
const TWO = { line: 1, name: "2", direction: "none", value: 0 };
const LAST = { line: 2, name: "", direction: "none", value: 0 };

Deno.test("lines are got by name, or else by number; all of them when none is named", () => {
  const scene = new Scene();
  assertEquals(scene.ask({ get: ["A"] }), [{ lines: [A] }]);
  assertEquals(scene.ask({ get: ["2", "1", "0", 2] }), [{ lines: [TWO, TWO, A, LAST] }]);
  assertEquals(scene.ask({ get: [] }), [{ lines: [A, TWO, LAST] }]);
});

Deno.test("a line that is set is answered when the driver has handled its interrupt", () => {
  const scene = new Scene();
  assertEquals(scene.ask({ set: ["A", 1] }), [{ line: { ...A, value: 1 }, taken: true }]);
  scene.busy.add(0);
  assertEquals(scene.ask({ set: ["A", 0] }), []);
  assertEquals(scene.control.deadline, 1e9);
  scene.now = 5e8;
  scene.control.tick();
  assertEquals(scene.client.got, []);
  scene.busy.clear();
  scene.control.tick();
  assertEquals([scene.client.got, scene.control.deadline], [[{ line: A, taken: true }], Infinity]);
});

Deno.test("whoever has set a line is not kept waiting by the driver", () => {
  const scene = new Scene();
  scene.busy.add(0);
  scene.ask({ set: ["A", 1] });
  scene.now = 1e9;
  scene.control.tick();
  assertEquals(scene.client.got, [{ line: { ...A, value: 1 }, taken: false }]);
});

Deno.test("whoever watches is told of levels and directions of these lines, and no others", () => {
  const scene = new Scene();
  const all = new FakeClient();
  assertEquals(scene.ask({ watch: ["2"] }), [{ lines: [TWO] }]);
  scene.ask({ watch: [] }, all);
  scene.lines.drive(0, 1);
  scene.drive(1);
  scene.drive(1); // nothing changes
  const changed = { changed: { ...TWO, direction: "out", value: 1 } };
  assertEquals(scene.client.got, [changed]);
  assertEquals(all.got, [{ changed: { ...A, value: 1 } }, changed]);
  scene.control.gone(scene.client);
  scene.lines.drive(2, 1);
  assertEquals([scene.client.got.length, all.got.length], [1, 3]);
});

Deno.test("a client that has gone is waited for no more", () => {
  const scene = new Scene();
  scene.busy.add(0);
  scene.ask({ set: ["A", 1] });
  scene.control.gone(scene.client);
  assertEquals(scene.control.deadline, Infinity);
});

Deno.test("what cannot be done is said", () => {
  const scene = new Scene();
  scene.drive(0);
  const unknown = "Cannot understand a request";
  for (
    const [request, text] of [
      [{ get: ["B"] }, 'Cannot use line "B": expected "A", "2" or a number from 0 to 2'],
      [{ get: [""] }, 'Cannot use line ""'],
      [{ get: ["3"] }, 'Cannot use line "3"'],
      [{ get: [null] }, "Cannot use line null"],
      [{ watch: [{}] }, "Cannot use line {}"],
      [{ set: ["A", 1] }, "Cannot drive line 0 (A): it is an output of the driver's"],
      [{ set: ["2", 2] }, "Cannot set a line to 2: expected 0 or 1"],
      [{ set: ["2"] }, "Cannot set a line to undefined"],
      [{ set: [] }, "Cannot use line undefined"],
      [{ get: "A" }, unknown],
      [{ frob: [] }, unknown],
      [{}, unknown],
      [[["get", []]], unknown],
      [null, unknown],
      ["get", unknown],
      [7, unknown],
    ] as const
  ) assertThrows(() => scene.ask(request), Error, text);
  assertEquals(scene.client.got, []);
});
