// SPDX-License-Identifier: Apache-2.0
/**
 * All that is fuzzed.
 *
 * @module
 */
import type { Target } from "../target.ts";
import { BACK_END_SESSIONS } from "./back_end.ts";
import { CAN_FRAMES, CAN_SOCKET_FRAMES, CANDUMP_LINES } from "./can.ts";
import { CONSOLE_ENDS, CONSOLE_MESSAGES } from "./console.ts";
import { DEVICE_RINGS } from "./device_ring.ts";
import { DRIVER_RINGS } from "./driver_ring.ts";
import { FRONT_END_REPLIES } from "./front_end.ts";
import { GPIO_CONTROL, GPIO_EDGES, GPIO_NAMES } from "./gpio.ts";
import { I2C_ADDRESSES, I2C_CHIPS } from "./i2c.ts";
import { INPUT_EVENTS, INPUT_HOST } from "./input.ts";
import { MESSAGES } from "./messages.ts";
import { NET_CABLE, NET_FRAMES, NET_MACS } from "./net.ts";
import { REGISTER_ACCESSES } from "./registers.ts";
import { SHADOW_BACK_ENDS, SHADOW_DRIVERS } from "./shadow_queue.ts";
import { WAV_HEADERS } from "./wav_header.ts";
import { WAV_WRITER } from "./wav_writer.ts";

/** In the order in which they are reported. */
export const TARGETS: readonly Target[] = [
  MESSAGES,
  FRONT_END_REPLIES,
  BACK_END_SESSIONS,
  REGISTER_ACCESSES,
  DEVICE_RINGS,
  DRIVER_RINGS,
  SHADOW_BACK_ENDS,
  SHADOW_DRIVERS,
  WAV_HEADERS,
  WAV_WRITER,
  CAN_FRAMES,
  CAN_SOCKET_FRAMES,
  CANDUMP_LINES,
  GPIO_NAMES,
  GPIO_EDGES,
  GPIO_CONTROL,
  I2C_ADDRESSES,
  I2C_CHIPS,
  CONSOLE_MESSAGES,
  CONSOLE_ENDS,
  INPUT_EVENTS,
  INPUT_HOST,
  NET_FRAMES,
  NET_CABLE,
  NET_MACS,
];
