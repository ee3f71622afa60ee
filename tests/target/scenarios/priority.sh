# SPDX-License-Identifier: Apache-2.0
#
# Two processors with more work than they can do, two cards: the one whose lane has real-time priority loses nothing.
# limit: 100 s

PERIODS="--period-time=10000 --buffer-time=40000"

load multi_sound=2
two_devices
start plain viola attach sound --loopback "/dev/$(node 1)" --socket "$(socket sound1)" --cpus 0
start urgent viola attach sound --loopback "/dev/$(node 2)" --socket "$(socket sound2)" --cpus 1 --realtime 40
wait_for_cards
for thread in /proc/"$(pid sound2)"/task/*; do chrt -f -p 30 "${thread##*/}" >/dev/null; done

for busy in 1 2 3 4; do start busy$busy sh -c 'while :; do :; done'; done
start plain-aplay aplay -D "hw:$(card "$(node 1)"),0" $PERIODS $SOUNDS/music.wav
start urgent-aplay chrt -f 30 aplay -D "hw:$(card "$(node 2)"),0" $PERIODS $SOUNDS/music.wav
wait_for 60 "the urgent card's aplay ends" gone urgent-aplay
expect "the urgent card's aplay ends well" wait "$(pid urgent-aplay)"

underruns() { grep -c underrun "$(log "$1")" || :; }
urgent=$(underruns urgent-aplay)
expect "the urgent card has no underrun: $urgent" test "$urgent" = 0
expect "the urgent card plays bit for bit" same_sound music /run/scenario/played2.wav
echo "underruns with 4 busy loops: plain card $(underruns plain-aplay), urgent card none"
