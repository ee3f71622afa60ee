# SPDX-License-Identifier: Apache-2.0
#
# AGL's command lines, with the C program's name, on both releases.
# limit: 100 s

refuses 1 "Usage: virtio-loopback-adapter" virtio-loopback-adapter
refuses 1 "Usage: virtio-loopback-adapter" virtio-loopback-adapter -d vhusnd
refuses 1 "vhublk" virtio-loopback-adapter -s /run/scenario/none -d vhublk -qn 1 -qs 64
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

major() { node "$1" | cut -d - -f 2; }

load multi_sound=2
two_devices
for n in 1 2; do
  start adapter$n virtio-loopback-adapter -l "$(major $n)" -d vhusnd -s "$(socket sound$n)"
done
TWO_SOUNDS="short short"
wait_for_cards
expect "both are played" at_once play_one
for n in 1 2; do expect "card $n plays bit for bit" same_sound short "/run/scenario/played$n.wav"; done
refuses 1 "another viola serves it.*EBUSY" virtio-loopback-adapter -l "$(major 2)" -d vhusnd -s "$(socket sound1)"
echo "vhurng on /dev/loopback, vhusnd on two /dev/loopback-N"
