# SPDX-License-Identifier: Apache-2.0
#
# Two device processes are killed ten times in one playback each, one behind registers of version 1, one of version 2:
# nothing of it is lost, aplay ends well. What was in flight when one was killed may be heard twice.
# limit: 100 s

load multi_sound=2
# Starts device N again whenever it ends.
restart_device() {
  while :; do
    viola device sound --socket "$(socket "sound$1")" --sink "wav:/run/scenario/played$1.wav,append" &
    echo $! >"/run/scenario/device$1.pid"
    wait || :
  done
}
for n in 1 2; do
  start restarter$n restart_device $n
  wait_for 15 "device $n listens" test -S "$(socket sound$n)"
done
start viola viola attach sound sound $BOTH_VERSIONS $(loopbacks) \
  --socket "$(socket sound1)" --socket "$(socket sound2)"
wait_for_cards

for n in 1 2; do
  start aplay$n aplay -q -D "hw:$(card "$(node $n)"),0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
done
for kill in 1 2 3 4 5 6 7 8 9 10; do
  sleep 2
  for n in 1 2; do
    expect "aplay $n still plays at kill $kill" test -d "/proc/$(pid aplay$n)"
    kill -KILL "$(cat /run/scenario/device$n.pid)"
  done
done
for n in 1 2; do
  wait_for 30 "aplay $n ends" gone aplay$n
  expect "aplay $n ends well" wait "$(pid aplay$n)"
  kill "$(pid restarter$n)" "$(cat /run/scenario/device$n.pid)"
  wait_for 5 "device $n ends" sh -c "! kill -0 $(cat /run/scenario/device$n.pid)"
done

expect "each loss is told" test "$(resumed viola)" = 20
for n in 1 2; do
  summary=$(heard long-8k /run/scenario/played$n.wav 10 16000) || fail "card $n: $summary"
  told="${told:-}card $n: $summary; "
done
echo "10 times; $told"
