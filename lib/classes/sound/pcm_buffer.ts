// SPDX-License-Identifier: Apache-2.0
/**
 * The buffer of a PCM stream of the sound driver, in the guest's memory: one message for each period
 * (virtio 1.2 §5.14.6.8).
 *
 * @module
 */
import { type GuestPages, PAGE_SIZE } from "../../guest/pages.ts";
import type { Segment } from "../../virtio/driver_queue.ts";
import type { PcmStream } from "./pcm.ts";

/** Bytes of a message's header and status, with padding. */
const STRIDE = 16;

/** A period's message, and where it is in memory. */
export interface PcmMessage {
  readonly stream: PcmStream;
  /** Guest address of virtio_snd_pcm_xfer; virtio_snd_pcm_status follows. */
  readonly header: number;
  /** The period's bytes, as segments. */
  readonly data: readonly Segment[];
  /** Views of the same bytes. */
  readonly views: readonly Uint8Array[];
  /** Bytes that are sent in it, or that were returned. */
  length: number;
}

/** A buffer of scattered pages, cut into periods: adjacent periods may share a page. */
export class PcmBuffer {
  /** One for each period; none before {@linkcode allocate}. */
  messages: readonly PcmMessage[] = [];
  #headers = { address: 0, bytes: 0 };
  #dataPages: number[] = [];

  /** @param writable Whether the device writes the samples */
  constructor(readonly pages: GuestPages, readonly writable: boolean) {}

  /** Allocates the messages of a stream. @throws {GuestError} ENOMEM */
  allocate(stream: PcmStream, periodBytes: number, periods: number): void {
    const { pages } = this;
    const bytes = periods * STRIDE;
    this.#headers = { address: pages.allocate(bytes), bytes };
    this.#dataPages = pages.allocateScattered(periods * periodBytes);
    this.messages = Array.from({ length: periods }, (_, i) => {
      const data = this.#segments(i * periodBytes, periodBytes);
      const views = data.map(({ address, length }) => pages.bytes(address, length));
      return { stream, header: this.#headers.address + i * STRIDE, data, views, length: 0 };
    });
  }

  /** Frees the messages. */
  free(): void {
    if (this.messages.length === 0) return;
    this.pages.free(this.#headers.address, this.#headers.bytes);
    for (const page of this.#dataPages) this.pages.free(page, PAGE_SIZE);
    this.messages = [];
  }

  #segments(offset: number, length: number): Segment[] {
    const segments: Segment[] = [];
    for (const end = offset + length; offset < end;) {
      const within = offset % PAGE_SIZE;
      const here = Math.min(PAGE_SIZE - within, end - offset);
      const address = this.#dataPages[(offset - within) / PAGE_SIZE]! + within;
      segments.push({ address, length: here, writable: this.writable });
      offset += here;
    }
    return segments;
  }
}
