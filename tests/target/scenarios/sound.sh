# SPDX-License-Identifier: Apache-2.0
#
# Two cards at once, of one viola process, on multi-sound's two nodes, one with registers of version 1, one of version 2:
# two recordings played at the same time, bit for bit; two files recorded at the same time, bit for bit. When viola ends
# the nodes stay open, until they are let go of.
# limit: 100 s

# is_closed NODE: whether its driver was released.
is_closed() { test "$(offence "$1" release)" = 1; }

load multi_sound=2
two_devices
start viola viola attach sound sound $BOTH_VERSIONS $(loopbacks) \
  --socket "$(socket sound1)" --socket "$(socket sound2)"
play_and_record
expect "viola ends well" end viola
for n in 1 2; do
  expect "node $n was not closed" test "$(offence "$(node $n)" release)" = 0
  expect "viola says who holds node $n" says viola "$(node $n) stays open, held by the store process"
  expect "it is let go of" viola forget "/dev/$(node $n)"
  wait_for 5 "node $n is closed" is_closed "$(node $n)"
done
echo "2 cards, 10 s each way; register access: median $(statistic "$(node 1)" median_us) us"
