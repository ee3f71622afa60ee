# SPDX-License-Identifier: Apache-2.0
#
# Two processors with more work than they can do, two cards: the one whose lane has real-time priority loses nothing. All
# that plays on it has; what plays on the other must share a processor.
# limit: 100 s

PERIODS="--period-time=10000 --buffer-time=160000"

load multi_sound=2
two_devices
start plain viola attach sound --loopback "/dev/$(node 1)" --socket "$(socket sound1)" --cpus 0
start urgent viola attach sound --loopback "/dev/$(node 2)" --socket "$(socket sound2)" --cpus 1 --realtime 40
wait_for_cards
for thread in /proc/"$(pid sound2)"/task/*; do chrt -f -p 30 "${thread##*/}" >/dev/null; done

for thread in worker-1 worker-2; do
  task=$(dirname "$(grep -lx $thread /proc/"$(pid urgent)"/task/*/comm)")
  policy=$(echo $(chrt -p "${task##*/}"))
  case $policy in
  *SCHED_FIFO*": 40") ;;
  *) fail "the lane's $thread has its priority: $policy" ;;
  esac
done
taskset -a -p -c 0 "$(pid sound1)" >/dev/null

for cpu in 0 0 0 1; do
  busy=$((${busy:-0} + 1))
  start busy$busy taskset -c $cpu sh -c 'while :; do :; done'
done
start plain-aplay taskset -c 0 aplay -D "hw:$(card "$(node 1)"),0" $PERIODS $SOUNDS/music.wav
start urgent-aplay chrt -f 30 aplay -D "hw:$(card "$(node 2)"),0" $PERIODS $SOUNDS/music.wav
wait_for 60 "the urgent card's aplay ends" gone urgent-aplay
expect "the urgent card's aplay ends well" wait "$(pid urgent-aplay)"

underruns() { grep -c underrun "$(log "$1")" || :; }
urgent=$(underruns urgent-aplay)
expect "the urgent card has no underrun: $urgent" test "$urgent" = 0
expect "the urgent card plays bit for bit" same_sound music /run/scenario/played2.wav
echo "underruns with 4 busy loops: plain card $(underruns plain-aplay), urgent card none"
