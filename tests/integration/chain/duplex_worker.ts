// SPDX-License-Identifier: Apache-2.0
// The thread of a driver that plays and records at once: both streams of a card in one loop.
import { Epoll, serveBlocking } from "../../../ffi/mod.ts";
import { GuestPages } from "../../../lib/guest/pages.ts";
import type { PcmStream } from "../../../lib/classes/sound/pcm.ts";
import type { PcmMessage } from "../../../lib/classes/sound/pcm_buffer.ts";
import { Progress } from "../../../lib/guest/progress.ts";
import { SOUND_PROGRESS, type SoundMmioDevice } from "../../../lib/classes/sound/progress.ts";
import { SoundCard } from "../../../lib/classes/sound/driver.ts";
import { MmioDevice } from "../../../lib/guest/transport.ts";
import { SoftGuestPort } from "../../../lib/loopback/soft.ts";
import { D_INPUT, D_OUTPUT, formatOfWav, FRAME_RATES } from "../../../lib/classes/sound/wire.ts";
import { WavReader, WavWriter } from "../../../lib/wav/mod.ts";
import type { DuplexContract, DuplexOptions } from "./duplex.ts";

const PATIENCE_MS = 5000;
const [PERIOD_FRAMES, PERIODS] = [480, 6];

serveBlocking<DuplexContract>((wires) => {
  const port = new SoftGuestPort(wires);
  const epoll = Epoll.create();
  return {
    epoll,
    handlers: { run: (options) => run(port, options) },
    turn() {},
    close() {
      epoll.close();
      port.close();
    },
  };
});

function run(port: SoftGuestPort, { play, record, frames, format }: DuplexOptions): void {
  if (port.waitStarted(PATIENCE_MS) === null) throw new Error("no card appeared");
  const pages = new GuestPages(port.memory, port.guestBase, port.memorySize);
  const device = new MmioDevice(port, pages, "duplex", new Progress(SOUND_PROGRESS));
  device.identify();
  const card = SoundCard.bind(device, PATIENCE_MS);
  const [output, input] = [card.stream(D_OUTPUT), card.stream(D_INPUT)];
  using reader = WavReader.open(play);
  using writer = WavWriter.create(record, format);
  for (const stream of [output, input]) prepare(stream, format);
  const fill = (message: PcmMessage): boolean => {
    message.length = message.views.reduce((sum, view) => sum + reader.read(view), 0);
    return message.length > 0;
  };
  const lend = (messages: readonly PcmMessage[]): void => {
    for (const message of messages) message.length = PERIOD_FRAMES * input.frameBytes;
    input.send(messages);
  };
  const wanted = frames * input.frameBytes;
  output.send(output.messages.filter(fill));
  lend(input.messages);
  input.start();
  output.start();
  while (output.pending > 0 || writer.bytes < wanted) {
    awaitAny(device, [output, input]);
    const next = output.returned.splice(0).filter(fill);
    if (next.length > 0) output.send(next);
    const back = input.returned.splice(0);
    for (const message of back) keep(message, writer, wanted);
    if (writer.bytes < wanted) lend(back);
  }
  card.shutDown();
  device.remove();
}

function prepare(stream: PcmStream, format: DuplexOptions["format"]): void {
  stream.setParams({
    format: formatOfWav(format)!.code,
    rate: FRAME_RATES.indexOf(format.rate),
    channels: format.channels,
    periodFrames: PERIOD_FRAMES,
    periods: PERIODS,
  });
  stream.prepare();
}

function awaitAny(device: SoundMmioDevice, streams: PcmStream[]): void {
  if (device.wait(() => streams.some(({ returned }) => returned.length > 0), PATIENCE_MS)) return;
  const kept = streams.map(({ pending }) => pending);
  throw new Error(`the device keeps ${kept} messages for ${PATIENCE_MS} ms`);
}

function keep(message: PcmMessage, writer: WavWriter, wanted: number): void {
  let left = Math.min(message.length, wanted - writer.bytes);
  for (const view of message.views) {
    const length = Math.min(view.length, left);
    writer.write(view.subarray(0, length));
    left -= length;
  }
  writer.commit();
}
