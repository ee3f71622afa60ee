# SPDX-License-Identifier: Apache-2.0
#
# Linux's virtio_net on viola's own card, which is on a tap interface of the host: pings of all sizes up to the MTU, iperf3 both
# ways, device and viola killed.
# limit: 90 s

modprobe -a virtio_net tun
at_end() { ip link del tap0 || :; }
load
ip tuntap add dev tap0 mode tap
ip addr add 10.7.0.1/24 dev tap0
ip link set tap0 up

start_device() { device net net --tap tap0 --mac 02:00:00:00:00:07; }
start_viola() { start viola viola attach net --socket "$(socket net)" --loopback /dev/$NODE; }
card() { basename /sys/class/viola-loopback/$NODE/virtio*/net/*; }
has_card() { [ -d "/sys/class/net/$(card)" ]; }
# The card has a network of its own, or its packets would never leave the kernel.
inside() { nsenter --net=/proc/"$(pid inside)"/ns/net "$@"; }

start_device
start_viola
wait_for 20 "the card appears" has_card
CARD=$(card)
expect "it has its address" grep -qx 02:00:00:00:00:07 "/sys/class/net/$CARD/address"
start inside unshare -n sleep 1000
wait_for 5 "there is another network" sh -c "[ \$(readlink /proc/$(pid inside)/ns/net) != \$(readlink /proc/self/ns/net) ]"
ip link set "$CARD" netns "$(pid inside)"
inside /bin/ip addr add 10.7.0.2/24 dev "$CARD"
inside /bin/ip link set "$CARD" up
inside /bin/ip link set lo up

pings() { ping -q -c "$1" -i 0.02 -W 2 -s "$2" 10.7.0.2 >/run/scenario/ping && grep -q " $1 received" /run/scenario/ping; }
wait_for 10 "it answers" pings 1 56
for size in 0 1 100 1000 1472; do expect "none of 20 pings of $size bytes is lost" pings 20 $size; done

start server nsenter --net=/proc/"$(pid inside)"/ns/net iperf3 -s --forceflush
# speed [-R]: Mbit/s
speed() { iperf3 -c 10.7.0.2 -t 1 -f m "$@" | awk '/receiver/ { print $7 }'; }
wait_for 5 "iperf3 listens" says server listening
there=$(speed)
back=$(speed -R)

kill -KILL "$(pid net)"
wait_for 5 "the device ends" gone net
start_device
wait_for 10 "viola has resumed" has_resumed viola 1
wait_for 10 "it answers" pings 5 56
kill -KILL "$(pid viola)"
wait_for 5 "viola ends" gone viola
start_viola
wait_for 10 "viola has resumed" has_resumed viola 2
wait_for 10 "it answers" pings 5 1472
echo "100 pings, none lost; iperf3 $there Mbit/s to the card, $back back; device and viola killed"
