# SPDX-License-Identifier: Apache-2.0
#
# What 10 s of playback take, 48 kHz stereo: processor time and memory of viola, and xruns as both ends count them. The
# kernel gives up a playback that stands still for somewhat longer than the buffer lasts: aplay's EIO is an xrun too.
# limit: 160 s

. /target/measure.sh

ROUNDS=3
SHORT="--period-time=10000 --buffer-time=160000"

load multi_sound=2
for n in 1 2; do device sound$n sound --sink "wav:/run/scenario/played$n.wav" --json; done
start viola viola attach sound sound $(loopbacks) --socket "$(socket sound1)" --socket "$(socket sound2)" --json
wait_for_cards

devices_cpu() { compute 'a + b' "$(cpu sound1)" "$(cpu sound2)"; }

underruns() { cat /out/$SCENARIO.aplay*.log | grep -c -e underrun -e 'Input/output error' || :; }
device_xruns() { cat /out/$SCENARIO.sound*.log | grep -c '"event":"xrun"' || :; }

# play_for NAME OPTIONS CARD…
play_for() {
  local name=$1 options=$2 before before_devices before_xruns n
  shift 2
  before=$(cpu viola)
  before_devices=$(devices_cpu)
  rm -f /out/$SCENARIO.aplay*.log
  before_xruns=$(device_xruns)
  for n in "$@"; do
    start aplay$n aplay -D "hw:$(card "$(node $n)"),0" $options $SOUNDS/music.wav
  done
  for n in "$@"; do
    wait "$(pid aplay$n)" || expect "aplay ends well on card $n" grep -q 'Input/output error' "$(log aplay$n)"
  done
  figure "$name-cpu" "$(compute 'a - b' "$(cpu viola)" "$before")"
  figure "$name-devices-cpu" "$(compute 'a - b' "$(devices_cpu)" "$before_devices")"
  figure "$name-underruns" "$(underruns)"
  figure "$name-xruns" $(($(device_xruns) - before_xruns))
  [ "$(underruns)" = 0 ] || return 0
  for n in "$@"; do expect "card $n plays bit for bit" same_sound music "/run/scenario/played$n.wav"; done
}

for _ in $(seq $ROUNDS); do
  play_for one "" 1
  echo >"$DEBUGFS/$(node 1)/stats"
  play_for two "$SHORT" 1 2
  figure two-access "$(statistic "$(node 1)" median_us)"
  figure two-access-p99 "$(statistic "$(node 1)" p99_us)"
done
figure memory "$(megabytes viola)"
expect "viola ends well" end viola
echo "$ROUNDS times one card and two cards for 10 s"
