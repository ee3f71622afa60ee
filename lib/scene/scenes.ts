// SPDX-License-Identifier: Apache-2.0
/**
 * Scenes that come with viola: `viola demo NAME`.
 *
 * @module
 */

/** A scene. */
export interface ShippedScene {
  readonly name: string;
  /** One line. */
  readonly description: string;
  /** The file. */
  readonly text: string;
}

const MUSIC = `[[device]]
class = "sound"
name = "music"
loopback = "soft"
`;
const VOICE = `[[device]]
class = "sound"
name = "voice"
loopback = "soft"
priority = 1
`;

const TWO_CARDS = `# Two cards play at once; the second is served first.
${MUSIC}
${VOICE}
[[cue]]
at = 0
play = "prelude"
on = "music"

[[cue]]
at = 2
caption = "An announcement"

[[cue]]
at = 2
play = "gong"
on = "voice"

[[expect]]
equal = "music"

[[expect]]
equal = "voice"

[[expect]]
no-xruns = "music"

[[expect]]
no-xruns = "voice"
`;

const CRASH = `# The music's device is killed in the middle, and comes back.
${MUSIC}
${VOICE}
[[cue]]
at = 0
play = "prelude"
on = "music"

[[cue]]
at = 1
play = "gong"
on = "voice"

[[cue]]
at = 3
caption = "The music's device crashes"

[[cue]]
at = 3
kill = "music"

[[cue]]
at = 3.5
start = "music"

[[expect]]
nothing-lost = "music"

[[expect]]
equal = "voice"

[[expect]]
no-xruns = "voice"
`;

const TAKE_OVER = `# viola itself is killed in the middle; the next one restores the device.
${MUSIC}
[[cue]]
at = 0
play = "prelude"
on = "music"

[[cue]]
at = 3
kill = "viola"

[[cue]]
at = 3
start = "viola"

[[expect]]
nothing-lost = "music"
`;

const LOAD = `# Four processes want all CPUs while two cards play.
${MUSIC}
${VOICE}
[[cue]]
at = 0
play = "prelude"
on = "music"

[[cue]]
at = 1
load = 4
seconds = 5

[[cue]]
at = 2
play = "gong"
on = "voice"

[[expect]]
equal = "music"

[[expect]]
equal = "voice"
`;

const CAR = `# Devices of several classes: sound, CAN, GPIO, entropy.
[[device]]
class = "sound"
name = "cabin"
loopback = "soft"
priority = 1

[[device]]
class = "can"
name = "body"
loopback = "soft"

[[device]]
class = "gpio"
name = "buttons"
loopback = "soft"
line = ["WIPER", "HORN"]

[[device]]
class = "rng"
name = "entropy"
loopback = "soft"

[[cue]]
at = 0
play = "chime"
on = "cabin"
seconds = 3

[[cue]]
at = 0.5
caption = "The wiper is switched on"

[[cue]]
at = 0.5
set = "WIPER=1"
on = "buttons"

[[cue]]
at = 0.6
send = "2A1#0100FF"
on = "body"

[[cue]]
at = 2
set = "WIPER=0"
on = "buttons"

[[cue]]
at = 2.1
send = "2A1#0000FF"
on = "body"

[[expect]]
equal = "cabin"

[[expect]]
no-xruns = "cabin"
`;

/** All, in the order in which they are listed. */
export const SHIPPED_SCENES: readonly ShippedScene[] = [
  { name: "two-cards", description: "two cards play at once", text: TWO_CARDS },
  { name: "crash", description: "a card's device is killed, and comes back", text: CRASH },
  {
    name: "take-over",
    description: "viola itself is killed, the next restores it",
    text: TAKE_OVER,
  },
  { name: "load", description: "two cards play while all CPUs are busy", text: LOAD },
  { name: "car", description: "sound, CAN, GPIO and entropy", text: CAR },
];
