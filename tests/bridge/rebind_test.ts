// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertMatch } from "@std/assert";
import { Reactor } from "../../ffi/mod.ts";
import { Rebind, type RebindOptions } from "../../lib/bridge/rebind.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { until } from "../support/process.ts";

const FAILED = 0x80;
const DRIVER_OK = 0x0f;

/** A virtio bus in a folder: what is written to `drivers_probe` is appended to it. */
class Sysfs implements Disposable {
  readonly path = Deno.makeTempDirSync();
  readonly said: string[] = [];
  readonly #bus = `${this.path}/bus/virtio`;

  constructor() {
    Deno.mkdirSync(`${this.#bus}/devices`, { recursive: true });
    Deno.writeTextFileSync(`${this.#bus}/drivers_probe`, "");
  }

  /** Adds a device below a parent that has a node. */
  add(name: string, ids: { device: number; vendor: number }, node: string | null): string {
    const parent = `${this.path}/devices/${node ?? name}-parent`;
    const device = `${parent}/${name}`;
    Deno.mkdirSync(device, { recursive: true });
    for (const [id, value] of Object.entries(ids)) {
      Deno.writeTextFileSync(`${device}/${id}`, `0x${value.toString(16).padStart(4, "0")}\n`);
    }
    if (node !== null) {
      Deno.writeTextFileSync(`${parent}/uevent`, `MAJOR=238\nMINOR=0\nDEVNAME=${node}\n`);
    }
    Deno.symlinkSync(device, `${this.#bus}/devices/${name}`);
    return device;
  }

  get probed(): string {
    return Deno.readTextFileSync(`${this.#bus}/drivers_probe`).trim();
  }

  rebind(reactor: Reactor, options: Partial<RebindOptions> = {}): Rebind {
    return new Rebind({
      node: "/dev/loopback-238",
      deviceId: 25,
      vendorId: 0x4c4f4956,
      reactor,
      canProbe: () => true,
      report: (text) => this.said.push(text),
      sysfs: this.path,
      delaysMs: [0, 0],
      ...options,
    });
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

const CARD = { device: 25, vendor: 0x4c4f4956 };

async function withBus(
  body: (sysfs: Sysfs, reactor: Reactor) => Promise<void>,
): Promise<void> {
  await withoutLeaks(async () => {
    using sysfs = new Sysfs();
    await using reactor = new Reactor();
    await body(sysfs, reactor);
  });
}

Deno.test("a driver whose probe failed is bound again when a back-end is there", async () => {
  await withBus(async (sysfs, reactor) => {
    sysfs.add("virtio0", CARD, "loopback-237");
    sysfs.add("virtio3", CARD, "loopback-238");
    using rebind = sysfs.rebind(reactor);
    rebind.statusChanged(FAILED);
    await until(() => sysfs.said.length === 1, "a word");
    assertMatch(
      sysfs.said[0]!,
      /^\/dev\/loopback-238: .*binding it again in 0 s \(attempt 1 of 2\)$/,
    );
    assertEquals(sysfs.probed, "");
    rebind.isBackEndConnected = true;
    await until(() => sysfs.probed !== "", "a probe");
    assertEquals(sysfs.probed, "virtio3");
  });
});

Deno.test("which device it is: the node's own, else one that no node claims, never a bound or a foreign one", async () => {
  await withBus(async (sysfs, reactor) => {
    sysfs.add("virtio0", { ...CARD, vendor: 0x1af4 }, null);
    sysfs.add("virtio1", { ...CARD, device: 4 }, null);
    Deno.symlinkSync(sysfs.path, `${sysfs.add("virtio2", CARD, null)}/driver`);
    sysfs.add("virtio4", CARD, "loopback-237");
    using rebind = sysfs.rebind(reactor);
    rebind.isBackEndConnected = true;
    rebind.statusChanged(FAILED);
    await until(
      () => sysfs.said.some((text) => text.includes("bound already")),
      "that there is none",
    );
    sysfs.add("virtio5", CARD, null);
    rebind.statusChanged(0);
    rebind.statusChanged(FAILED);
    await until(() => sysfs.probed !== "", "a probe");
    assertEquals(sysfs.probed, "virtio5");
  });
});

Deno.test("attempts are bounded, and the last word says what to do", async () => {
  await withBus(async (sysfs, reactor) => {
    sysfs.add("virtio0", CARD, "loopback-238");
    using rebind = sysfs.rebind(reactor);
    rebind.isBackEndConnected = true;
    for (let i = 0; i < 3; i++) {
      rebind.statusChanged(0);
      rebind.statusChanged(FAILED);
      rebind.statusChanged(FAILED); // the same failure, told again
    }
    assertEquals(sysfs.said.length, 3);
    assertMatch(
      sysfs.said[2]!,
      /failed 3 times, giving up \(to bind it by hand, .*drivers_probe\)$/,
    );
    await until(() => sysfs.probed !== "", "a probe");
  });
});

Deno.test("a bus that cannot be written to is said as it is, and so is one that is not there", async () => {
  await withBus(async (sysfs, reactor) => {
    sysfs.add("virtio0", CARD, "loopback-238");
    Deno.removeSync(`${sysfs.path}/bus/virtio/drivers_probe`);
    Deno.mkdirSync(`${sysfs.path}/bus/virtio/drivers_probe`);
    using rebind = sysfs.rebind(reactor);
    rebind.isBackEndConnected = true;
    rebind.statusChanged(FAILED);
    await until(() => sysfs.said.length === 2, "a word");
    assertMatch(
      sysfs.said[1]!,
      /cannot bind the driver again: writing virtio0 to .*drivers_probe failed/,
    );
    using nowhere = sysfs.rebind(reactor, { sysfs: `${sysfs.path}/none` });
    nowhere.isBackEndConnected = true;
    nowhere.statusChanged(FAILED);
    await until(() => sysfs.said.length === 4, "a word");
    assertMatch(sysfs.said[3]!, /cannot bind the driver again: Cannot open .*ENOENT/);
  });
});

Deno.test("nothing is bound for a driver that works, for a probe that would be refused, or after the end", async () => {
  await withBus(async (sysfs, reactor) => {
    sysfs.add("virtio0", CARD, "loopback-238");
    using working = sysfs.rebind(reactor);
    working.started();
    working.isBackEndConnected = true;
    working.statusChanged(DRIVER_OK);
    using refused = sysfs.rebind(reactor, { canProbe: () => false });
    refused.isBackEndConnected = true;
    refused.statusChanged(FAILED);
    const ended = sysfs.rebind(reactor);
    ended.isBackEndConnected = true;
    ended.statusChanged(FAILED);
    ended.close();
    using last = sysfs.rebind(reactor); // when this one has been bound, the others would have been
    last.isBackEndConnected = true;
    last.statusChanged(FAILED);
    await until(() => sysfs.probed !== "", "a probe");
    assertEquals(sysfs.probed, "virtio0");
    assertEquals(sysfs.said.length, 2);
  });
});
