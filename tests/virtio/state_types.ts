// SPDX-License-Identifier: Apache-2.0
// Which isolate may write what of a device's state: what is another's does not compile. Nothing here runs: `deno check`
// complains of a directive that expects an error where there is none.
import {
  ACCESS_COUNTERS,
  ACCESS_QUEUE_COUNTERS,
  type DeviceState,
  MAIN_COUNTERS,
  RING_COUNTERS,
  RING_QUEUE_COUNTERS,
} from "../../lib/virtio/state.ts";
import type { AccessState, MainState, RingState } from "../../lib/virtio/state_writers.ts";

/** The isolate that serves accesses. */
export function access(state: AccessState): void {
  state.count(ACCESS_COUNTERS.accesses);
  state.queues[0]!.count(ACCESS_QUEUE_COUNTERS.kicks);
  state.queues[0]!.setWord(1, 8);
  // @ts-expect-error: the ring isolate raises interrupts
  state.raiseInterruptStatus(1);
  // @ts-expect-error: the ring isolate counts them
  state.count(RING_COUNTERS.interrupts);
  // @ts-expect-error: the ring isolate takes chains
  state.queues[0]!.takeOn(0);
  // @ts-expect-error: the ring isolate writes the class area
  state.replay.fill(0);
  // @ts-expect-error: the main isolate publishes the config space
  state.publishConfig(new Uint8Array());
  read(state);
}

/** The isolate that touches the rings. */
export function ring(state: RingState): void {
  state.count(RING_COUNTERS.interrupts);
  state.queues[0]!.count(RING_QUEUE_COUNTERS.bytesOut, 64);
  state.queues[0]!.takeOn(0);
  // @ts-expect-error: the access isolate counts accesses
  state.count(ACCESS_COUNTERS.accesses);
  // @ts-expect-error: the access isolate counts kicks
  state.queues[0]!.count(ACCESS_QUEUE_COUNTERS.kicks);
  // @ts-expect-error: the access isolate says that a queue is ready
  state.queues[0]!.makeReady();
  // @ts-expect-error: the access isolate sets status bits
  state.orStatus(0x40);
  // @ts-expect-error: the access isolate resets the device
  state.reset();
  // @ts-expect-error: the main isolate tells the driver
  state.setStarted();
  read(state);
}

/** The main isolate. */
export function main(state: MainState): void {
  state.count(MAIN_COUNTERS.replays, 2);
  state.publishConfig(new Uint8Array());
  // @ts-expect-error: the ring isolate counts interrupts
  state.count(RING_COUNTERS.interrupts);
  // @ts-expect-error: the access isolate sets status bits
  state.orStatus(0x40);
  // @ts-expect-error: the access isolate takes what the driver writes
  state.writeConfig(0, 1, 0);
  // @ts-expect-error: the ring isolate gives chains back
  state.queues[0]!.giveBack(0);
  read(state);
}

/** Who only reads. */
export function read(state: DeviceState): void {
  void [state.status, state.counters[0], state.config[0], state.queues[0]!.inflight[0]];
  // @ts-expect-error: no word of the registers
  state.status = 0;
  // @ts-expect-error: no counter
  state.counters[0] = 1;
  // @ts-expect-error: no byte of the config space
  state.config[0] = 1;
  // @ts-expect-error: no mark of a chain
  state.queues[0]!.inflight[0] = 0;
  // @ts-expect-error: no counter of a queue
  state.queues[0]!.counters[0] = 1;
  // @ts-expect-error: none of the words behind
  state.registers[0] = 1;
}
