# SPDX-License-Identifier: Apache-2.0
#
# viola is killed ten times while it serves two cards that play, and started anew each time: the nodes and what is known of
# the devices outlive it. Then it ends in order, and the next one goes on as well.
# limit: 150 s

load multi_sound=2
two_devices

start_viola() {
  start viola viola attach --keep sound sound $(loopbacks) --socket "$(socket sound1)" --socket "$(socket sound2)"
}

# taken_over COUNT: whether a viola said so twice as often, once for each card.
taken_over() { test "$(grep -c 'taken over' "$(log viola)")" -ge $((2 * $1)); }

start_viola
wait_for_cards
for n in 1 2; do
  start aplay$n aplay -q -D "hw:$(card "$(node $n)"),0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
done
for round in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  kill -KILL "$(pid viola)"
  wait_for 5 "viola ends" gone viola
  start_viola
  wait_for 10 "viola takes both devices over at kill $round" taken_over $round
done
sleep 1
kill "$(pid viola)"
wait_for 5 "viola ends in order" gone viola
start_viola
wait_for 10 "viola takes both devices over after its end in order" taken_over 11
for n in 1 2; do
  wait_for 40 "aplay $n ends" gone aplay$n
  expect "aplay $n ends well" wait "$(pid aplay$n)"
done
for n in 1 2; do
  summary=$(heard long-8k /run/scenario/played$n.wav) || fail "card $n: $summary"
  echo "card $n: $summary"
  expect "node $n was never released" test "$(offence "$(node $n)" release)" = 0
done
echo "killed 10 times, ended once: $summary"
