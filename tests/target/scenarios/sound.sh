# SPDX-License-Identifier: Apache-2.0
#
# Two cards at once, of one viola process, on multi-sound's two nodes: two recordings played at the same time, bit for
# bit; two files recorded at the same time, bit for bit.
# limit: 100 s

load multi_sound=2
two_devices
start viola viola attach sound sound $(loopbacks) --socket "$(socket sound1)" --socket "$(socket sound2)"
play_and_record
echo "2 cards, 10 s each way; register access: median $(statistic "$(node 1)" median_us) us"
