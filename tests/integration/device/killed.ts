// SPDX-License-Identifier: Apache-2.0
// A sound card as a process, to be killed: its socket and its sink are the arguments.
import { sound } from "../../../lib/classes/mod.ts";
import { startDevice } from "../../../lib/device/mod.ts";

const [socket, sink] = Deno.args;
await startDevice(sound, { socket: socket!, sinks: [sink!], pace: "free" });
await new Promise(() => setInterval(() => {}, 1e6));
