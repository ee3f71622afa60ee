# SPDX-License-Identifier: Apache-2.0
#
# AGL's command lines, with the C program's name, on both releases. With sound no store process runs beforehand; each adapter
# is killed five times in mid-play, and none ever has a mapping of its node that a child process would inherit.
# limit: 150 s

refuses 1 "Usage: virtio-loopback-adapter" virtio-loopback-adapter
refuses 1 "Usage: virtio-loopback-adapter" virtio-loopback-adapter -d vhusnd
refuses 1 "vhuscsi" virtio-loopback-adapter -s /run/scenario/none -d vhuscsi -qn 1 -qs 64
refuses 1 "power of 2" virtio-loopback-adapter -s /run/scenario/none -d vhublk -qn 1 -qs 65
refuses 1 "module loaded" virtio-loopback-adapter -s /run/scenario/none -d vhurng

load
refuses 1 "/run/scenario/none.*ENOENT" virtio-loopback-adapter -s /run/scenario/none -d vhurng
expect "the node was not opened without a back-end" test "$(offence $NODE release)" = 0
device rng rng
start adapter virtio-loopback-adapter -s "$(socket rng)" -d vhurng
wait_for 15 "the driver uses it" grep -q virtio_rng /sys/class/misc/hw_random/rng_current
expect "/dev/hwrng can be read" dd if=/dev/hwrng bs=64 count=16 of=/dev/null
end adapter
end_store
end rng
unload

# adapter N: what the adapter of the N-th node is called.
adapter() { echo "$RELEASE$1"; }

# start_adapter N: on whichever release.
start_adapter() {
  local name
  name=$(node "$1")
  name=${name#loopback}
  start "$(adapter "$1")" virtio-loopback-adapter ${name:+-l "${name#-}"} -d vhusnd -s "$(socket "sound$1")"
}

# not_inherited N: the adapter has mappings, and none for a child.
not_inherited() {
  local pid
  pid=$(pid "$(adapter "$1")")
  expect "$(adapter "$1") has its node mapped" test "$(mapped "$pid")" -gt 0
  expect "no child inherits a mapping of $(adapter "$1"): $(inheritable "$pid")" test -z "$(inheritable "$pid")"
}

start_playing() {
  wait_for 20 "card $1 appears" has_card "$(node "$1")"
  not_inherited "$1"
  start "aplay$1" aplay -q -D "hw:$(card "$(node "$1")"),0" --buffer-time=4000000 --period-time=250000 $SOUNDS/long-8k.wav
}

played_well() {
  local summary
  wait_for 40 "aplay $1 ends" gone "aplay$1"
  expect "aplay $1 ends well" wait "$(pid "aplay$1")"
  summary=$(heard long-8k "/run/scenario/played$1.wav" 5 16000) || fail "card $1: $summary"
  expect "node $1 was never released" test "$(offence "$(node "$1")" release)" = 0
}

# kill_in_mid_play RELEASE N…: the adapters of these nodes, five times.
kill_in_mid_play() {
  local n round
  RELEASE=$1
  shift
  expect "no store process runs yet" sh -c "! pgrep -f '$STORE'"
  for n; do
    device "sound$n" sound --sink "wav:/run/scenario/played$n.wav,append"
    start_adapter "$n"
  done
  for n; do start_playing "$n"; done
  for round in 1 2 3 4 5; do
    sleep 1
    for n; do kill -KILL "$(pid "$(adapter "$n")")"; done
    for n; do
      wait_for 5 "$(adapter "$n") ends" gone "$(adapter "$n")"
      start_adapter "$n"
    done
    for n; do
      wait_for 10 "$(adapter "$n") has resumed after kill $round" has_resumed "$(adapter "$n")" $round
      not_inherited "$n"
    done
  done
  for n; do played_well "$n"; done
}

load
kill_in_mid_play epsilon 1
end "$(adapter 1)"
end sound1
end_store
rm /run/scenario/played1.wav
unload

load multi_sound=2
kill_in_mid_play multi-sound 1 2
refuses 1 "another viola serves it.*EBUSY" virtio-loopback-adapter -l "$(node 2 | cut -d - -f 2)" -d vhusnd \
  -s "$(socket sound1)"
echo "vhurng, and vhusnd killed 5 times, on /dev/loopback; two of vhusnd killed 5 times on /dev/loopback-N"
