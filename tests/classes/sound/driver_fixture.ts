// SPDX-License-Identifier: Apache-2.0
import type { WavFormat } from "../../../lib/wav/mod.ts";
import type { FakeOptions } from "../../guest/fake_device.ts";

export const S16: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };

/** The rings that a device can offer. */
export const RINGS: Partial<FakeOptions>[] = ([1, 2] as const).flatMap((mmioVersion) =>
  [false, true].flatMap((indirect) =>
    [false, true].map((eventIdx) => ({ mmioVersion, indirect, eventIdx }))
  )
);
