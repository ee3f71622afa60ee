// SPDX-License-Identifier: Apache-2.0
/** An adapter's thread: answers the page of a loopback device with a scripted device's registers, and works its rings. */
import { Epoll, EPOLLET, EPOLLIN, serveBlocking, viewMemory } from "../../ffi/mod.ts";
import { SharedPage } from "../../lib/loopback/page.ts";
import { type LoopbackPort, ring } from "../../lib/loopback/port.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { FakeDevice, type FakeOptions, type Script } from "./fake_device.ts";

export interface AdapterInit {
  port: LoopbackPort;
  options: FakeOptions;
}

const DOORBELL = 1;

serveBlocking(({ port, options }: AdapterInit) => {
  const page = new SharedPage(viewMemory(port.page));
  const memory = new GuestMemory(
    port.memory.map((range) => ({ guest: range.guest, buffer: viewMemory(range) })),
  );
  const device = new FakeDevice(memory, options);
  const epoll = Epoll.create();
  epoll.add(port.doorbell, EPOLLIN | EPOLLET, DOORBELL);
  let isDeaf = false;

  const answer = (): void => {
    const { registers } = device;
    if (page.isRead) page.answer(registers.read(page.offset, page.size));
    else registers.write(page.offset, page.size, page.data);
    page.finish();
    ring(port.wakeup);
  };
  const interrupt = (): void => {
    if (!device.interrupt) return;
    device.interrupt = false;
    ring(port.interrupt);
  };
  return {
    epoll,
    handlers: {
      grant(count: number) {
        device.grant(count);
        interrupt();
      },
      sendEvent({ code, data }: { code: number; data: number }) {
        device.sendEvent(code, data);
        interrupt();
      },
      script: (script: Script) => void Object.assign(device.script, script),
      deafen: (deaf: boolean) => void (isDeaf = deaf),
      seen() {
        const { messages, controls, bad, ringErrors, resets, playedBytes, notifications } = device;
        const { status } = device.state;
        return { messages, controls, bad, ringErrors, resets, playedBytes, notifications, status };
      },
    },
    turn() {
      if (isDeaf || !page.pending) return;
      answer();
      device.run();
      interrupt();
    },
    close: () => epoll.close(),
  };
});
