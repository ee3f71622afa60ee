# SPDX-License-Identifier: Apache-2.0
#
# A driver without the faults of AGL's: a node may be opened again, and nobody looks again by himself whether an answer is
# there, so that a wake-up that is missed would be missed for good. Both versions of the registers.
# limit: 100 s

load multi_sound=2 dead_after_release=0 windows_count_on=0 queues_count_on=0 relook_ms=0
two_devices
for life in 1 2; do
  start viola$life viola attach sound sound --no-keep $BOTH_VERSIONS $(loopbacks) \
    --socket "$(socket sound1)" --socket "$(socket sound2)"
  TWO_SOUNDS="short short"
  wait_for_cards
  expect "both are played" at_once play_one
  for n in 1 2; do expect "card $n plays bit for bit" same_sound short "/run/scenario/played$n.wav"; done
  expect "viola ends when told to" end viola$life
  wait_for 5 "card 1 is gone" sh -c "! test -e /sys/class/viola-loopback/$NODE/virtio0"
done
echo "2 cards, twice on the same nodes"
