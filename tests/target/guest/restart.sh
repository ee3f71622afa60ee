# SPDX-License-Identifier: Apache-2.0
#
# What the measurements of restarts are written with: a playback whose device, or viola, is killed and started again.

ROUNDS=10

# pointer: how many frames were played, in POINTER.
pointer() {
  local name value
  while read -r name _ value; do
    if [ "$name" = hw_ptr ]; then POINTER=$value; fi
  done <"/proc/asound/card$CARD/pcm0p/sub0/status"
}

# uptime: in UPTIME.
uptime() { read -r UPTIME _ </proc/uptime; }

# pause: 10 ms; nobody ever writes there.
pause() { read -r -t 0.01 _ <>/run/scenario/pause || :; }

start_sound() { start sound viola device sound --socket "$(socket sound)" --sink null; }

start_viola() { start viola viola attach --keep sound --loopback /dev/$NODE --socket "$(socket sound)"; }

# restart NAME: kills it while it plays, starts it again at once, and takes the time from the kill until ALSA sees the next
# period played. Looks every 10 ms, without starting a process for that.
restart() {
  local tries=1000 began before
  sleep 0.3
  uptime
  began=$UPTIME
  kill -KILL "$(pid "$1")"
  start_$1
  pointer
  before=$POINTER
  until [ "$POINTER" != "$before" ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "it plays on after $1 was killed, not within 10 s"
    pause
    pointer
  done
  uptime
  figure "restart-$1" "$(compute '(b - a) * 1000' "$began" "$UPTIME")"
}

# measure_restarts NAME: of "sound" or "viola"; periods last 250 ms, and one of these is in each figure.
measure_restarts() {
  mkfifo /run/scenario/pause
  load
  start_sound
  start_viola
  wait_for 20 "the card appears" has_card $NODE
  CARD=$(card $NODE)
  start aplay aplay -q -D "hw:$CARD,0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
  for _ in $(seq $ROUNDS); do restart $1; done
  kill "$(pid aplay)"
  wait_for 10 "aplay ends" gone aplay
  expect "viola ends well" end viola
  echo "$ROUNDS restarts"
}
