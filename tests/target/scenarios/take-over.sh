# SPDX-License-Identifier: Apache-2.0
#
# viola is killed ten times while it serves two cards that play, one with registers of version 1, one of version 2, and
# started anew each time: the nodes and what is known of the devices outlive it. Each life maps the pages of rings and buffers, and a node has 200 mappings: so the buffers have
# seven pages, which ten lives can map wherever they lie.
# limit: 150 s

load multi_sound=2
for n in 1 2; do device sound$n sound --sink wav:/run/scenario/played$n.wav,append; done

start_viola() {
  start viola viola attach --keep sound sound $BOTH_VERSIONS $(loopbacks) \
    --socket "$(socket sound1)" --socket "$(socket sound2)"
}

start_viola
wait_for_cards
for n in 1 2; do
  start aplay$n aplay -q -D "hw:$(card "$(node $n)"),0" --buffer-time=1750000 --period-time=125000 $SOUNDS/long-8k.wav
done
for round in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  kill -KILL "$(pid viola)"
  wait_for 5 "viola ends" gone viola
  start_viola
  wait_for 5 "viola has resumed after kill $round" has_resumed viola $((2 * round))
done
for n in 1 2; do
  wait_for 40 "aplay $n ends" gone aplay$n
  expect "aplay $n ends well" wait "$(pid aplay$n)"
done
for n in 1 2; do
  summary=$(heard long-8k /run/scenario/played$n.wav 10 7000) || fail "card $n: $summary"
  told="${told:-}card $n: $summary; "
  expect "node $n was never released" test "$(offence "$(node $n)" release)" = 0
done
expect "viola tells of the mappings" says viola 'of its 200 mappings used'
echo "killed 10 times; $told$(statistic "$(node 2)" mappings) of 200 mappings"
