# SPDX-License-Identifier: Apache-2.0
#
# Linux's gpio-virtio on viola's own controller: of simulated lines, with 1,000 edges of which none is lost, and device and viola
# killed; then on a GPIO chip of the host, which gpio-sim simulates. One after the other: the driver has one struct irq_chip for all
# its devices, and with two of them the kernel calls a null pointer where an interrupt is enabled.
# limit: 120 s

# Who uses a line gives it back while there is a device for that.
at_end() {
  pkill gpioset || :
  pkill gpiomon || :
  sleep 0.5
  [ ! -e /sys/kernel/config/gpio-sim/host ] || echo 0 >/sys/kernel/config/gpio-sim/host/live
}

start_device() { device gpio gpio "$@"; }
start_viola() { start viola viola attach gpio --socket "$(socket gpio)" --loopback /dev/$NODE; }

# The driver's chip.
chip() { basename /sys/class/viola-loopback/$NODE/virtio*/gpiochip*; }
has_chip() { [ -c "/dev/$(chip)" ]; }

# reads LINE LEVEL
reads() { [ "$(gpioget -c "$(chip)" --numeric "$1")" = "$2" ]; }

# is_driven LINE DIRECTION LEVEL: as its other end sees it.
is_driven() { viola gpio get --socket "$(socket gpio)" "$1" | grep -q " $1 $2 $3$"; }

# edges LINE COUNT: what sets a simulated line so often, up and down.
edges() { awk -v line="$1" -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s=%d ", line, (i + 1) % 2 }'; }

# monitor LINE COUNT
monitor() {
  start monitor gpiomon -c "$(chip)" --banner -n "$2" --format %E "$1"
  wait_for 10 "gpiomon listens" says monitor Monitoring
}

# all_seen COUNT: whether gpiomon saw all edges, up and down in turn.
all_seen() {
  wait_for 60 "gpiomon sees $1: $(grep -c -e rising -e falling "$(log monitor)")" gone monitor
  expect "up and down in turn" sh -c "grep -e rising -e falling '$(log monitor)' | awk -v n=$1 '
    \$1 != (NR % 2 ? \"rising\" : \"falling\") { exit 1 } END { exit NR != n }'"
  rm "$(log monitor)"
}

# ---- simulated lines ----

modprobe gpio-virtio
load
start_device --line LED --line BUTTON
start_viola
wait_for 20 "the lines appear" has_chip
expect "they have their names" sh -c "gpioinfo -c $(chip) | grep -q LED"
viola gpio set --socket "$(socket gpio)" BUTTON=1
expect "the driver reads 1" reads BUTTON 1
viola gpio set --socket "$(socket gpio)" BUTTON=0
expect "the driver reads 0" reads BUTTON 0
start led gpioset -c "$(chip)" LED=1
wait_for 5 "the driver drives a line" is_driven LED out 1

began=$(now)
monitor BUTTON 1000
viola gpio set --socket "$(socket gpio)" $(edges BUTTON 1000)
all_seen 1000
took=$(since "$began")

monitor BUTTON 20
kill -KILL "$(pid gpio)"
wait_for 5 "the device ends" gone gpio
start_device --line LED --line BUTTON
wait_for 10 "viola has resumed" has_resumed viola 1
kill -KILL "$(pid viola)"
wait_for 5 "viola ends" gone viola
start_viola
wait_for 10 "viola has resumed" has_resumed viola 2
viola gpio set --socket "$(socket gpio)" $(edges BUTTON 20)
all_seen 20
expect "the line is still driven" is_driven LED out 1
end led || :
end viola || :
end_store
end gpio || :
unload
rmmod gpio-virtio

# ---- a chip of the host ----

modprobe -a gpio-virtio gpio-simulator
mount -t configfs none /sys/kernel/config 2>/dev/null || :
sim=/sys/kernel/config/gpio-sim/host
mkdir -p $sim/bank/line0 $sim/bank/line1
echo 4 >$sim/bank/num_lines
echo DOOR >$sim/bank/line0/name
echo LAMP >$sim/bank/line1/name
echo 1 >$sim/live
host=$(cat $sim/bank/chip_name)
lines=/sys/devices/platform/$(cat $sim/dev_name)/$host

load
start_device --chip "/dev/$host"
start_viola
wait_for 20 "the lines appear" has_chip
echo pull-up >"$lines/sim_gpio0/pull"
expect "the driver reads 1" reads DOOR 1
echo pull-down >"$lines/sim_gpio0/pull"
expect "the driver reads 0" reads DOOR 0
start lamp gpioset -c "$(chip)" LAMP=1
wait_for 5 "the host's line is driven" grep -q 1 "$lines/sim_gpio1/value"
monitor DOOR 20
for _ in 1 2 3 4 5 6 7 8 9 10; do
  for pull in up down; do
    echo pull-$pull >"$lines/sim_gpio0/pull"
    sleep 0.05
  done
done
all_seen 20
end lamp || :
echo "1,000 edges in $took s, none lost; device and viola killed; a chip of the host"
