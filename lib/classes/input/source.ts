// SPDX-License-Identifier: Apache-2.0
/**
 * Where an input device's events come from.
 *
 * @module
 */
import type { Capabilities } from "./capabilities.ts";
import type { EventsFile, Line } from "./events_file.ts";
import type { InputEvent } from "./wire.ts";

/** See the module. It never blocks. */
export interface EventSource {
  readonly capabilities: Capabilities;
  /** A driver is there. */
  begin(): void;
  /** The next event or wait; null when there is none now: the device takes a turn when there is. */
  next(): Line | null;
  /** The driver sets an LED, or the like. */
  set?(event: InputEvent): void;
  /** When {@linkcode next} is to be called again although nothing has happened, in nanoseconds. */
  readonly retryAt?: number;
  /** The driver is gone: nothing stays open. */
  end(): void;
}

/** The events of a file, from its beginning for each driver. */
export class FileSource implements EventSource {
  #next = 0;

  constructor(readonly file: EventsFile) {}

  get capabilities(): Capabilities {
    return this.file.capabilities;
  }

  begin(): void {
    this.#next = 0;
  }

  next(): Line | null {
    return this.file.lines[this.#next++] ?? null;
  }

  end(): void {}
}
