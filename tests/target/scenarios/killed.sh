# SPDX-License-Identifier: Apache-2.0
#
# The device process is killed ten times in one playback: nothing of it is lost, aplay ends well. What was in flight when
# it was killed may be heard twice.
# limit: 100 s

load
# Starts the device again whenever it ends.
restart_device() {
  while :; do
    viola device sound --socket "$(socket sound)" --sink wav:/run/scenario/played.wav,append &
    echo $! >/run/scenario/device.pid
    wait || :
  done
}
start restarter restart_device
wait_for 15 "the device listens" test -S "$(socket sound)"
start viola viola attach sound --loopback /dev/$NODE --socket "$(socket sound)"
wait_for 20 "the card appears" has_card $NODE

start aplay aplay -q -D "hw:$(card $NODE),0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
for kill in 1 2 3 4 5 6 7 8 9 10; do
  sleep 2
  expect "aplay still plays at kill $kill" test -d "/proc/$(pid aplay)"
  kill -KILL "$(cat /run/scenario/device.pid)"
done
wait_for 30 "aplay ends" gone aplay
expect "aplay ends well" wait "$(pid aplay)"
kill "$(pid restarter)" "$(cat /run/scenario/device.pid)"
wait_for 5 "the device ends" sh -c "! kill -0 $(cat /run/scenario/device.pid)"

expect "each loss is told" test "$(grep -c 'resumed: ' "$(log viola)")" = 10
summary=$(heard long-8k /run/scenario/played.wav 10 16000) || fail "$summary"
echo "10 times; $summary"
