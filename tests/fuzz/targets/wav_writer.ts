// SPDX-License-Identifier: Apache-2.0
/**
 * WAV files as they are written: after each step, whatever the format and however often the writer was killed, the file
 * holds what was committed.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { frameBytes, type WavFormat, WavWriter } from "../../../lib/wav/mod.ts";
import { readAll, withFile } from "../../wav/files.ts";
import { target, type Verdict } from "../target.ts";

type Step =
  | { do: "write"; frames: number }
  | { do: "commit" }
  | { do: "rollback" }
  /** Closed and gone on in. */
  | { do: "again" }
  /** Gone on in while the old one is as it was when it was killed. */
  | { do: "killed" };

const pcm = fc.constantFrom(8, 16, 24, 32).map((bits) => ({ encoding: "pcm" as const, bits }));
const kinds = fc.oneof(
  pcm,
  fc.constantFrom(32, 64).map((bits) => ({ encoding: "float" as const, bits })),
  fc.constantFrom("alaw" as const, "mulaw" as const).map((encoding) => ({ encoding, bits: 8 })),
  fc.constant({ encoding: "pcm" as const, bits: 24, container: 32 as const }),
);
const format: fc.Arbitrary<WavFormat> = fc.tuple(
  kinds,
  fc.integer({ min: 1, max: 9 }),
  fc.integer({ min: 1, max: 0xffff_ffff }),
).map(([kind, channels, rate]) => ({ ...kind, channels, rate }));

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("write" as const), frames: fc.nat({ max: 50 }) }),
  fc.constantFrom<Step>({ do: "commit" }, { do: "commit" }, { do: "rollback" }, { do: "again" }, {
    do: "killed",
  }),
);

/** A writer, and what the file must hold. */
class Recording implements Disposable {
  #writer: WavWriter;
  #committed: number[] = [];
  #pending: number[] = [];
  #killed: WavWriter[] = [];
  #next = 0;

  constructor(readonly path: string, readonly format: WavFormat) {
    this.#writer = WavWriter.create(path, format);
  }

  take(step: Step): void {
    if (step.do === "write") this.#write(step.frames * frameBytes(this.format));
    else if (step.do === "commit") {
      this.#writer.commit();
      this.#committed.push(...this.#pending.splice(0));
    } else {
      this.#pending = [];
      if (step.do === "rollback") this.#writer.rollback();
      else this.#begin(step.do === "killed");
    }
    const found = readAll(this.path);
    assertEquals(found, { format: this.format, samples: Uint8Array.from(this.#committed) });
  }

  #write(length: number): void {
    const samples = Array.from({ length }, () => this.#next++ & 0xff);
    this.#writer.write(Uint8Array.from(samples));
    this.#pending.push(...samples);
  }

  #begin(killed: boolean): void {
    if (killed) this.#killed.push(this.#writer);
    else this.#writer.close();
    this.#writer = WavWriter.append(this.path, this.format);
  }

  [Symbol.dispose](): void {
    for (const writer of [...this.#killed, this.#writer]) writer.rollback();
    for (const writer of [...this.#killed, this.#writer]) writer.close();
  }
}

function judge({ format, steps }: { format: WavFormat; steps: Step[] }): Verdict {
  withFile((path) => {
    using recording = new Recording(path, format);
    for (const step of steps) recording.take(step);
  });
  return "accepted";
}

const inputs = fc.record({ format, steps: fc.array(step, { maxLength: 20, size: "max" }) });

/** See the module. */
export const WAV_WRITER = target("WAV writer", inputs, judge);
