// SPDX-License-Identifier: Apache-2.0
/**
 * What the standard demands of GPIO controllers and their drivers.
 *
 * @module
 */
import type { Must } from "../musts.ts";

/** virtio 1.2, §5.18. */
export const MUSTS: readonly Must[] = [
  {
    section: "5.18.6.1",
    of: "device",
    what: "has a zero byte for a line without a name",
    by: { test: "names are zero-terminated, one for each line, as in the standard's example" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "sends messages on the request queue",
    by: { test: "lines are named, set, read and given up" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "queues a request and a response for each message",
    by: { test: "gpio: a response without room is refused, and told of" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "fills the request, which the device only reads",
    by: { test: "gpio: requests that break a rule are refused, and change nothing" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "has the device fill the response, which it may write",
    by: { test: "gpio: a response without room is refused, and told of" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "sends no IRQ messages without VIRTIO_GPIO_F_IRQ",
    by: { test: "gpio: interrupts are refused to a driver that did not accept VIRTIO_GPIO_F_IRQ" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "sends no IRQ messages for an output",
    by: { test: "gpio: requests that break a rule are refused, and change nothing" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "sets the type to NONE when it is done with an interrupt",
    by: { test: "gpio: a line that is given up forgets all that was set" },
  },
  {
    section: "5.18.6.8",
    of: "driver",
    what: "disables an interrupt before it changes its type",
    by: { test: "gpio: requests that break a rule are refused, and change nothing" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "sets all fields of a response",
    by: { test: "gpio: requests that break a rule are refused, and change nothing" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "sets all fields of the config space; gpio_names_size is 0 without names",
    by: {
      test: "gpio: the config space says how many lines there are, and the size of their names",
    },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "has names that are zero-terminated and unique",
    by: { test: "gpio: what cannot be simulated is refused" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "answers messages for a line in their order",
    by: { test: "gpio: requests for a line are answered in their order" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "discards all that was set of a line when its direction becomes NONE",
    by: { test: "gpio: a line that is given up forgets all that was set" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "latches an edge while the interrupt is masked",
    by: { test: "gpio: an edge that comes while the interrupt is masked is latched, once" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "does not latch a level while the interrupt is masked",
    by: { test: "gpio: a level interrupts while it lasts, and is not latched" },
  },
  {
    section: "5.18.6.9",
    of: "device",
    what: "discards what was latched when the interrupt is disabled",
    by: { test: "gpio: a disabled interrupt gives its buffer back, and forgets what was latched" },
  },
  {
    section: "5.18.7.2",
    of: "driver",
    what: "enables an interrupt, then unmasks it",
    by: { test: "gpio: a buffer for an interrupt that is not enabled comes back as invalid" },
  },
  {
    section: "5.18.7.2",
    of: "driver",
    what: "queues a pair of buffers of its own for each line",
    by: { test: "interrupts reach the driver, one for each edge" },
  },
  {
    section: "5.18.7.2",
    of: "driver",
    what: "does not queue a second pair for a line",
    by: { test: "gpio: a second buffer for a line comes back as invalid, the first stays" },
  },
  {
    section: "5.18.7.3",
    of: "device",
    what: "sends no event unless the interrupt is enabled and unmasked",
    by: { test: "gpio: each edge that was asked for interrupts, and no other" },
  },
  {
    section: "5.18.7.3",
    of: "device",
    what: "returns the buffers of an interrupt that is disabled, as invalid",
    by: { test: "gpio: a disabled interrupt gives its buffer back, and forgets what was latched" },
  },
];
