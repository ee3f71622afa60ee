# SPDX-License-Identifier: Apache-2.0
#
# A back-end that stands still when the driver probes the device: Linux's virtio_snd gives up after a second, and viola has
# it bound again, so that the card is there in the end. It stands still until the probe has failed; then, on two more
# nodes, for three seconds from the moment at which the driver may probe, and at which the rings are served.
# limit: 150 s

load multi_sound=3

# attach N TEXT: the N-th node's device is stopped the moment viola says this.
attach() {
  device sound$1 sound --sink "wav:/run/scenario/played$1.wav"
  mkfifo "/run/scenario/said$1"
  start follower$1 stop_when "$(pid "sound$1")" "$2" "/run/scenario/said$1"
  start viola$1 sh -c "exec viola attach sound --loopback /dev/$(node "$1") --socket $(socket "sound$1") >/run/scenario/said$1 2>&1"
  wait_for 20 "viola says: $2" says "follower$1" "$2"
}

# stop_when PID TEXT FILE: copies what the file says, and stops the process at once when it says this for the first time.
stop_when() {
  local pid=$1 line
  while read -r line; do
    case $line in
    *"$2"*)
      if [ -n "$pid" ]; then kill -STOP "$pid"; fi
      pid=
      ;;
    esac
    echo "$line"
  done <"$3"
}

# The probe's failures so far, all of a timeout.
failures() { dmesg | grep -c 'virtio_snd.*failed with error -110' || :; }

plays() {
  wait_for 30 "card $1 appears" has_card "$(node "$1")"
  expect "card $1 plays" play "$(card "$(node "$1")")" short
  expect "card $1 plays bit for bit" same_sound short "/run/scenario/played$1.wav"
}

attach 1 "may probe"
wait_for 20 "the probe fails" sh -c "dmesg | grep 'virtio_snd.*failed with error -110'"
failed=$(failures)
kill -CONT "$(pid sound1)"
plays 1
expect "viola says that it binds the driver again" says follower1 "binding it again in"

n=1
for text in "may probe" "serves the driver"; do
  n=$((n + 1))
  attach $n "$text"
  sleep 3
  kill -CONT "$(pid sound$n)"
  plays $n
done
echo "probes that failed: $failed, then $(($(failures) - failed)); 3 cards play"
