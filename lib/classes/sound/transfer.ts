// SPDX-License-Identifier: Apache-2.0
/**
 * What an application does with a card: it plays or records a file. Uses one buffer of a few periods, however long the
 * file is.
 *
 * @module
 */
import { hasFeature } from "../../virtio/features.ts";
import { D_INPUT, D_OUTPUT, formatOfWav, FRAME_RATES, SAMPLE_FORMATS } from "./wire.ts";
import { type WavFormat, wavFormatText, WavReader, WavWriter } from "../../wav/mod.ts";
import { attempt, Dropped, GuestError } from "../../guest/error.ts";
import type { HwParams, PcmStream } from "./pcm.ts";
import type { PcmMessage } from "./pcm_buffer.ts";
import type { SoundCard } from "./driver.ts";

/** Size of the card's buffer. */
export interface BufferOptions {
  /** Frames of a period; 20 ms of them unless given. */
  periodFrames?: number | undefined;
  /** Periods in the buffer, 2 to 16. @default {8} */
  periods?: number | undefined;
}

/** What to play. */
export interface PlayOptions extends BufferOptions {
  /** A WAV file. */
  file: string;
  /** The most frames to play. @default {Infinity} */
  frames?: number;
}

/** What to record. */
export interface CaptureOptions extends BufferOptions {
  /** The WAV file to write. */
  file: string;
  /** The exact number of frames. */
  frames: number;
  format: WavFormat;
}

/** Result of a transfer. */
export interface TransferResult {
  /** Frames that the device returned as played, or that were recorded. */
  frames: number;
  /** Messages that the device returned while it was running. */
  periods: number;
  /** XRUN events. */
  xruns: number;
  /** How often the device had no buffer left before the end of the file. */
  underruns: number;
  /** Messages returned with a status other than OK. */
  ioErrors: number;
  /** The longest time between two returned messages, in milliseconds. */
  longestPeriodMs: number;
  /** Whether the owner ended it before its end. */
  stopped: boolean;
  /** How long each step took, in milliseconds. */
  steps: Record<string, number>;
}

/**
 * Plays a file on the card's first playback stream: fills the buffer, starts, refills each returned period, waits
 * for the last, then stops and releases. The last message is only as long as the rest, so nothing that is not in the
 * file is ever sent.
 *
 * @param stallMs How long the device may keep everything
 * @throws {WavError} for a file that cannot be read as WAV
 * @throws {GuestError} EINVAL when the card cannot play it, EIO when the device has stalled; otherwise that of a control message
 */
export function play(card: SoundCard, options: PlayOptions, stallMs: number): TransferResult {
  using reader = WavReader.open(options.file, options.frames);
  const stream = card.stream(D_OUTPUT);
  const params = hwParams(options.file, reader.format, options);
  begin(card, reader.frames);
  return inSteps(stream, (time) => {
    time("setParams", () => stream.setParams(params));
    time("prepare", () => stream.prepare());
    const first = stream.messages.filter((message) => fill(message, reader));
    if (first.length > 0) {
      stream.send(first);
      time("start", () => stream.start());
      time("play", () => refill(stream, reader, stallMs));
      time("stop", () => stream.stop());
    }
    time("release", () => stream.release());
  });
}

/** Starts the progress of a transfer. */
function begin({ device: { progress } }: SoundCard, frames: number): void {
  progress.clear();
  progress.write("total", frames);
}

/** Refills and sends each returned message, until all have been returned. */
function refill(stream: PcmStream, reader: WavReader, stallMs: number): void {
  const { progress } = stream.device;
  while (!stream.device.isToEnd()) {
    const isUnderrun = stream.pending === 0;
    const back = stream.returned.splice(0);
    const next = back.filter((message) => fill(message, reader));
    if (next.length < back.length) progress.state = "draining";
    if (next.length > 0) stream.send(next);
    else if (isUnderrun) return;
    if (isUnderrun) progress.count("underruns");
    awaitReturn(stream, stallMs);
  }
}

/** Pauses the stream for as long as the owner wants. */
function rest(stream: PcmStream): void {
  stream.pause();
  stream.device.wait(() => !stream.device.isPaused(), Infinity);
  stream.resume();
}

/** Fills a message with the next samples of the file. @returns whether there were any */
function fill(message: PcmMessage, reader: WavReader): boolean {
  message.length = 0;
  for (const view of message.views) {
    const read = reader.read(view);
    message.length += read;
    if (read < view.length) break;
  }
  return message.length > 0;
}

/**
 * Records from the card's first capture stream: offers the device all periods, starts, writes each returned one to the
 * file and offers it again, until there are enough.
 *
 * @param stallMs How long the device may keep everything
 * @throws {WavError} when the file cannot be written
 * @throws {GuestError} as {@linkcode play}
 */
export function capture(card: SoundCard, options: CaptureOptions, stallMs: number): TransferResult {
  const { file, frames, format } = options;
  if (!Number.isInteger(frames) || frames < 1) {
    throw new GuestError("EINVAL", `record ${frames} frames to ${file}: expected at least 1`);
  }
  const stream = card.stream(D_INPUT);
  const params = hwParams(file, format, options);
  begin(card, frames);
  let recorded = 0;
  const result = inSteps(stream, (time) => {
    time("setParams", () => stream.setParams(params));
    using writer = WavWriter.create(file, format);
    time("prepare", () => stream.prepare());
    lend(stream, stream.messages, params);
    time("start", () => stream.start());
    time("record", () => record(stream, writer, frames, params, stallMs));
    time("stop", () => stream.stop());
    time("release", () => stream.release());
    recorded = writer.bytes / stream.frameBytes;
  });
  return { ...result, frames: recorded };
}

/**
 * Plays two periods of silence, or records them on a card that only records, with the smallest parameters of the stream.
 *
 * @param stallMs How long the device may keep everything
 * @throws {GuestError} as {@linkcode play}
 */
export function exercise(card: SoundCard, stallMs: number): void {
  const stream = card.streams[0];
  if (stream === undefined) return;
  const { info } = stream;
  const format = SAMPLE_FORMATS.findIndex(({ code, bytes }) =>
    bytes > 0 && hasFeature(info.formats, code)
  );
  const rate = FRAME_RATES.findIndex((_, code) => hasFeature(info.rates, code));
  const periodFrames = Math.ceil(FRAME_RATES[rate]! / 100);
  begin(card, 2 * periodFrames);
  inSteps(stream, (time) => {
    const params = { format, rate, channels: info.channelsMin, periodFrames, periods: 2 };
    time("setParams", () => stream.setParams(params));
    time("prepare", () => stream.prepare());
    for (const { views } of stream.messages) for (const view of views) view.fill(0);
    lend(stream, stream.messages, params);
    time("start", () => stream.start());
    time("wait", () => awaitReturn(stream, stallMs));
    time("stop", () => stream.stop());
    time("release", () => stream.release());
  });
}

function record(
  stream: PcmStream,
  writer: WavWriter,
  frames: number,
  params: HwParams,
  stallMs: number,
): void {
  const wanted = frames * stream.frameBytes;
  while (!stream.device.isToEnd()) {
    const back = stream.returned.splice(0);
    for (const message of back) keep(message, writer, wanted - writer.bytes);
    if (writer.bytes >= wanted) return;
    lend(stream, back, params);
    awaitReturn(stream, stallMs);
  }
}

/** Writes a message's samples to the file, at most `most` bytes. */
function keep(message: PcmMessage, writer: WavWriter, most: number): void {
  let left = Math.min(message.length, most);
  for (const view of message.views) {
    if (left === 0) break;
    const length = Math.min(left, view.length);
    writer.write(view.subarray(0, length));
    left -= length;
  }
  writer.commit();
}

/** Offers the device messages to fill, each a whole period. */
function lend(stream: PcmStream, messages: readonly PcmMessage[], params: HwParams): void {
  for (const message of messages) message.length = params.periodFrames * stream.frameBytes;
  stream.send(messages);
}

/** Waits until a message is returned, or the owner ends the call; pauses the stream when the owner wants that. */
function awaitReturn(stream: PcmStream, stallMs: number): void {
  const { device } = stream;
  const isSo = (): boolean => stream.returned.length > 0 || device.isToEnd() || device.isPaused();
  if (device.wait(isSo, stallMs)) return device.isPaused() ? rest(stream) : undefined;
  throw new GuestError(
    "EIO",
    `use ${stream.name}: the device keeps ${stream.pending} messages for ${stallMs} ms`,
  );
}

/** Stream parameters for a file. */
function hwParams(file: string, format: WavFormat, options: BufferOptions): HwParams {
  const sample = formatOfWav(format);
  const rate = FRAME_RATES.indexOf(format.rate);
  if (sample === undefined || rate < 0) {
    throw new GuestError(
      "EINVAL",
      `use ${file}: no sound card has ${
        wavFormatText(format)
      }, expected a format and rate of the standard`,
    );
  }
  return {
    format: sample.code,
    rate,
    channels: format.channels,
    periodFrames: options.periodFrames ?? Math.ceil(format.rate / 50),
    periods: options.periods ?? 8,
  };
}

/** Runs a transfer step by step and measures each; a transfer that fails stops and releases the stream, as the end of an application does. */
function inSteps(
  stream: PcmStream,
  transfer: (time: (name: string, step: () => void) => void) => void,
): TransferResult {
  const steps: Record<string, number> = {};
  try {
    transfer((name, step) => {
      const start = performance.now();
      step();
      steps[name] = performance.now() - start;
    });
  } catch (error) {
    if (!Dropped.is(error)) attempt(() => stream.shutDown());
    throw error;
  }
  const { progress } = stream.device;
  const { position: frames, periods, xruns, underruns, ioErrors, longestPeriodMs } = progress
    .snapshot();
  const stopped = stream.device.isToEnd();
  return { frames, periods, xruns, underruns, ioErrors, longestPeriodMs, stopped, steps };
}
