# SPDX-License-Identifier: Apache-2.0
#
# A viola that ends in order in mid-play, and the next one, by the drop-in command line alone.
# limit: 100 s

load multi_sound=1
device sound sound --sink wav:/run/scenario/played.wav,append
start_adapter() { start adapter virtio-loopback-adapter -l "${NODE#loopback-}" -d vhusnd -s "$(socket sound)"; }

start_adapter
wait_for 20 "the card appears" has_card $NODE
start aplay aplay -q -D "hw:$(card $NODE),0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
for round in 1 2 3; do
  sleep 2
  kill "$(pid adapter)"
  wait_for 5 "the adapter ends" gone adapter
  expect "it says who holds the node" says adapter "$NODE stays open, held by the store process [0-9]* at /run/viola/store"
  start_adapter
  wait_for 5 "the next adapter has resumed" has_resumed adapter $round
done
wait_for 40 "aplay ends" gone aplay
expect "aplay ends well" wait "$(pid aplay)"
summary=$(heard long-8k /run/scenario/played.wav 3 16000) || fail "$summary"
expect "the node was never released" test "$(offence $NODE release)" = 0
echo "ended 3 times; $summary"
