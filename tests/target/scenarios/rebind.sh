# SPDX-License-Identifier: Apache-2.0
#
# The driver is unbound and bound again through sysfs, idle and in mid-play, while another card of the same viola plays on:
# registers of version 2 are probed eight times. Those of version 1 as often as AGL's driver has room for their queues,
# four times, and viola refuses the fifth.
# limit: 150 s

DRIVER=/sys/bus/virtio/drivers/virtio_snd

# bus_name NODE: of its virtio device.
bus_name() { basename /sys/class/viola-loopback/"$1"/virtio*; }

unbind() { timeout 5 sh -c "echo $(bus_name "$1") >$DRIVER/unbind"; }
bind() { timeout 5 sh -c "echo $(bus_name "$1") >$DRIVER/bind"; }

rebind() {
  expect "unbound within 5 s" unbind "$1"
  expect "bound again within 5 s" bind "$1"
  wait_for 5 "the card is back" has_card "$1"
}

# plays_well N: whether its card does, now.
plays_well() {
  expect "card $1 plays after that" play "$(card "$(node "$1")")" short
  expect "card $1 plays bit for bit after that" same_sound short "/run/scenario/played$1.wav"
}

# rebind_card N OTHER TIMES: so many times, the last one in mid-play.
rebind_card() {
  local node round
  node=$(node "$1")
  for round in $(seq 2 "$3"); do rebind "$node"; done
  plays_well "$1"
  start other play "$(card "$(node "$2")")" voice
  start broken play "$(card "$node")" music
  sleep 2
  expect "unbound in mid-play within 5 s" unbind "$node"
  wait_for 5 "its aplay ends" gone broken
  expect "bound again within 5 s" bind "$node"
  wait_for 5 "the card is back" has_card "$node"
  plays_well "$1"
  wait_for 15 "the other card's aplay ends" gone other
  expect "the other card's aplay ends well" wait "$(pid other)"
  expect "the other card plays bit for bit" same_sound voice "/run/scenario/played$2.wav"
}

load multi_sound=2
two_devices
start viola viola attach sound sound $BOTH_VERSIONS $(loopbacks) \
  --socket "$(socket sound1)" --socket "$(socket sound2)"
wait_for_cards
rebind_card 2 1 7
rebind_card 1 2 3
expect "viola says what happened" says viola "the driver reset the device"

expect "unbound within 5 s" unbind "$(node 1)"
if bind "$(node 1)"; then fail "the fifth probe goes well with registers of version 1"; fi
wait_for 5 "viola says why" says viola "room for 16 queue set-ups"
rebind "$(node 2)"
plays_well 2
echo "9 probes with version 2, 4 with version 1, the fifth refused"
