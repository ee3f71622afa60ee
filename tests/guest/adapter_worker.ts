// SPDX-License-Identifier: Apache-2.0
/** An adapter's thread: answers the page of a loopback device with a scripted device's registers, and works its rings. */
import { Epoll, EPOLLET, EPOLLIN, PeerSignal, serveBlocking, viewMemory } from "../../ffi/mod.ts";
import { SharedPage } from "../../lib/loopback/page.ts";
import { ring } from "../../lib/loopback/port.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import type { AdapterContract } from "./adapter.ts";
import { FakeDevice } from "./fake_device.ts";

const DOORBELL = 1;

/** Answers the access in the page. */
function answer(page: SharedPage, { registers }: FakeDevice): void {
  if (page.isRead) page.answer(registers.read(page.offset, page.size));
  else registers.write(page.offset, page.size, page.data);
  page.finish();
}

serveBlocking<AdapterContract>(({ port, options }) => {
  const page = new SharedPage(viewMemory(port.page));
  const regions = port.memory.map((one) => ({ guest: one.guest, buffer: viewMemory(one) }));
  const device = new FakeDevice(new GuestMemory(regions), options);
  const epoll = Epoll.create();
  const signal = PeerSignal.create();
  epoll.add(port.doorbell, EPOLLIN | EPOLLET, DOORBELL);
  let isDeaf = false;

  const interrupt = (): void => {
    if (device.interrupt) ring(port.interrupt, signal);
    device.interrupt = false;
  };
  return {
    epoll,
    handlers: {
      grant(count) {
        device.sound.grant(count);
        interrupt();
      },
      sendEvent(code, data) {
        const sent = device.sound.sendEvent(code, data);
        interrupt();
        return sent;
      },
      script: (script) => void Object.assign(device.script, script),
      deafen: (deaf) => void (isDeaf = deaf),
      seen() {
        const { messages, controls, playedBytes } = device.sound;
        return { messages, controls, playedBytes, ...device.log, status: device.state.status };
      },
    },
    turn() {
      if (isDeaf || !page.pending) return;
      answer(page, device);
      ring(port.wakeup, signal);
      device.run();
      interrupt();
    },
    close() {
      epoll.close();
      signal.close();
    },
  };
});
