# SPDX-License-Identifier: Apache-2.0
#
# The driver is unbound and bound again through sysfs, idle and in mid-play; a second card of the same viola plays on.
# limit: 100 s

DRIVER=/sys/bus/virtio/drivers/virtio_snd

# bus_name NODE: of its virtio device.
bus_name() { basename /sys/class/viola-loopback/"$1"/virtio*; }

unbind() { timeout 5 sh -c "echo $(bus_name "$1") >$DRIVER/unbind"; }
bind() { timeout 5 sh -c "echo $(bus_name "$1") >$DRIVER/bind"; }

load multi_sound=2
two_devices
start viola viola attach sound sound $(loopbacks) --socket "$(socket sound1)" --socket "$(socket sound2)"
wait_for_cards
first=$(node 1)

for round in 1 2 3; do
  expect "unbound idle within 5 s" unbind "$first"
  expect "bound again within 5 s" bind "$first"
  wait_for 5 "the card is back" has_card "$first"
done
expect "it plays after that" play "$(card "$first")" short
expect "bit for bit" same_sound short /run/scenario/played1.wav

start other play "$(card "$(node 2)")" voice
start broken play "$(card "$first")" music
sleep 2
expect "unbound in mid-play within 5 s" unbind "$first"
wait_for 5 "its aplay ends" gone broken
expect "bound again within 5 s" bind "$first"
wait_for 5 "the card is back" has_card "$first"
expect "it plays after that" play "$(card "$first")" short
expect "bit for bit" same_sound short /run/scenario/played1.wav

wait_for 15 "the other card's aplay ends" gone other
expect "the other card's aplay ends well" wait "$(pid other)"
expect "the other card plays bit for bit" same_sound voice /run/scenario/played2.wav
expect "viola says what happened" says viola "the driver reset the device"
echo "3 times idle, once in mid-play"
