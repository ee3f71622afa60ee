# SPDX-License-Identifier: Apache-2.0
#
# The same with a viola process for each card, as AGL starts them.
# limit: 100 s

load multi_sound=2
two_devices
for n in 1 2; do
  start viola$n viola attach sound --loopback "/dev/$(node $n)" --socket "$(socket sound$n)"
done
play_and_record
echo "2 cards of 2 processes, 10 s each way"
