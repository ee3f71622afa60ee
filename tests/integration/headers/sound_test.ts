// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import * as sound from "../../../lib/classes/sound/wire.ts";
import { runC } from "./run_c.ts";

const STRUCTURES = [
  ["virtio_snd_config", sound.SOUND_CONFIG_SIZE],
  ["virtio_snd_hdr", sound.HDR_SIZE],
  ["virtio_snd_query_info", sound.QUERY_INFO_SIZE],
  ["virtio_snd_jack_info", sound.JACK_INFO_SIZE],
  ["virtio_snd_jack_remap", sound.JACK_REMAP_SIZE],
  ["virtio_snd_pcm_info", sound.PCM_INFO_SIZE],
  ["virtio_snd_pcm_hdr", sound.PCM_HDR_SIZE],
  ["virtio_snd_pcm_set_params", sound.PCM_SET_PARAMS_SIZE],
  ["virtio_snd_chmap_info", sound.CHMAP_INFO_SIZE],
  ["virtio_snd_pcm_xfer", sound.PCM_XFER_SIZE],
  ["virtio_snd_pcm_status", sound.PCM_STATUS_SIZE],
  ["virtio_snd_event", sound.EVENT_SIZE],
] as const;

const OFFSETS = [
  ["virtio_snd_query_info", "size", 12],
  ["virtio_snd_jack_info", "connected", 16],
  ["virtio_snd_jack_remap", "sequence", 12],
  ["virtio_snd_pcm_info", "formats", 8],
  ["virtio_snd_pcm_info", "rates", 16],
  ["virtio_snd_pcm_info", "direction", 24],
  ["virtio_snd_pcm_info", "channels_max", 26],
  ["virtio_snd_pcm_set_params", "buffer_bytes", 8],
  ["virtio_snd_pcm_set_params", "features", 16],
  ["virtio_snd_pcm_set_params", "channels", 20],
  ["virtio_snd_pcm_set_params", "rate", 22],
  ["virtio_snd_chmap_info", "positions", 6],
  ["virtio_snd_pcm_status", "latency_bytes", 4],
  ["virtio_snd_event", "data", 4],
] as const;

Deno.test("sizes, offsets and codes are those of <linux/virtio_snd.h>", async () => {
  // Each export that has the kernel's name without its prefix; tables entry by entry.
  const names = [
    ...Object.entries(sound)
      .filter(([name, value]) =>
        typeof value === "number" && /^(D|R|EVT|S|VQ|JACK_F|PCM_F)_|^CHMAP_MAX_SIZE$/.test(name)
      )
      .map(([name, value]) => [name, value] as const),
    ...sound.SAMPLE_FORMATS.map(({ name, code }) => [`PCM_FMT_${name}`, code] as const),
    ...sound.FRAME_RATES.map((rate, code) => [`PCM_RATE_${rate}`, code] as const),
    ...sound.CHANNEL_POSITIONS.map((name, code) => [`CHMAP_${name}`, code] as const),
  ];
  assert(names.length > 90);
  const expected = [
    ...STRUCTURES.map(([, size]) => size),
    ...OFFSETS.map(([, , offset]) => offset),
    ...names.map(([, value]) => value),
  ];
  const printed = await runC(`
    #include <linux/virtio_snd.h>
    #include <stddef.h>
    #include <stdio.h>
    int main(void) {
      ${STRUCTURES.map(([name]) => `printf("%zu ", sizeof(struct ${name}));`).join("\n")}
      ${OFFSETS.map(([s, f]) => `printf("%zu ", offsetof(struct ${s}, ${f}));`).join("\n")}
      ${names.map(([name]) => `printf("%d ", (int)VIRTIO_SND_${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), expected);
});
