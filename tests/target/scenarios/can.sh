# SPDX-License-Identifier: Apache-2.0
#
# Linux's virtio_can on viola's own controller, connected to vcan0: frames of all kinds, 10,000 in order that are sent and
# 3,000 that are received, up and down ten times, the device killed, viola killed, bus-off and its recovery.
# limit: 240 s

. /target/can.sh
load
start_device() { device can can --interface vcan0; }
start_viola() { start viola viola attach can --socket "$(socket can)" --loopback /dev/$NODE; }
start_device
start_viola
wait_for 20 "the interface appears" has_can
ip link set "$CAN" up

# Classic, extended, remote, FD with 64 bytes.
for frame in 123#DEADBEEF 12345678#01 321#R 7FF##4$(seq -s "" 10 73); do both_ways $frame; done

began=$(now)
listen sent vcan0 10000
generate "$CAN" 10000 0
expect "10,000 frames are sent in order" all_came sent 10000
sent=$(since "$began")
began=$(now)
listen received "$CAN" 3000
generate vcan0 3000 1
expect "3,000 frames are received in order" all_came received 3000
received=$(since "$began")

for _ in 1 2 3 4 5 6 7 8 9 10; do
  ip link set "$CAN" down
  expect "down, it is stopped" is_state STOPPED
  ip link set "$CAN" up
done
both_ways 124#11

kill -KILL "$(pid can)"
wait_for 5 "the device ends" gone can
start_device
wait_for 10 "viola has resumed" has_resumed viola 1
both_ways 125#22

kill -KILL "$(pid viola)"
wait_for 5 "viola ends" gone viola
start_viola
wait_for 10 "viola has resumed" has_resumed viola 2
both_ways 126#33

cansend vcan0 20000040#0000000000000000
wait_for 5 "the driver sees bus-off" is_state BUS-OFF
ip link set "$CAN" type can restart
wait_for 5 "the driver has started it again" is_state ERROR-ACTIVE
both_ways 127#44
echo "10,000 frames sent in $sent s, 3,000 received in $received s; device and viola killed; bus-off and back"
