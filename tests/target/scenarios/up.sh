# SPDX-License-Identifier: Apache-2.0
#
# viola up: a card from a file plays; meanwhile the file gets another card, and viola is killed and started again with it, three
# times. Nothing that was played is lost. A file with a mistake changes nothing.
# limit: 120 s

load multi_sound=2
car=/run/scenario/car.toml

# section N [LINE]: the device at the N-th node.
section() {
  cat <<EOF
[[device]]
class = "sound"
name = "card$1"
loopback = "/dev/$(node "$1")"
sink = "wav:/run/scenario/played$1.wav,append"
${2:-}
EOF
}

start_up() { start up viola up $car; }

play_on() {
  wait_for 20 "card $1 appears" has_card "$(node "$1")"
  start "aplay$1" aplay -q -D "hw:$(card "$(node "$1")"),0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
}

refuses 1 'car.toml:6: Cannot use "sinc" .*did you mean sink' sh -c \
  "printf '[[device]]\nclass = \"sound\"\nloopback = \"/dev/loopback\"\n\n\nsinc = \"null\"\n' >$car; viola up --check $car"

section 1 >$car
expect "nothing is missing" viola doctor $car
start_up
play_on 1
{
  section 1
  section 2 "priority = 1"
} >$car.new
mv $car.new $car
kill -HUP "$(pid up)"
play_on 2
wait_for 10 "the second card is in the scene" says up 'card2: added to the scene'

section 1 'sinc = "null"' >$car.bad
cp $car $car.good
cp $car.bad $car
kill -HUP "$(pid up)"
wait_for 10 "the mistake is told" says up 'the scene stays as it was'
cp $car.good $car

for round in 1 2 3; do
  sleep 1
  kill -KILL "$(pid up)"
  wait_for 5 "viola ends" gone up
  start_up
  wait_for 10 "both have resumed after kill $round" has_resumed up $((2 * round))
done
viola status >/run/scenario/status
cat /run/scenario/status
expect "both are served" test "$(grep -c 'DRIVER_OK' /run/scenario/status)" = 2
expect "metrics are told" sh -c "viola metrics | grep -q '^viola_device_running{device=\"card2\"} 1'"

for n in 1 2; do
  wait_for 60 "aplay $n ends" gone aplay$n
  expect "aplay $n ends well" wait "$(pid aplay$n)"
  summary=$(heard long-8k /run/scenario/played$n.wav 3 16000) || fail "card $n: $summary"
  told="${told:-}card $n: $summary; "
  expect "node $n was never released" test "$(offence "$(node $n)" release)" = 0
done
end up
end_store
echo "killed 3 times; $told"
