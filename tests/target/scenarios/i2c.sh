# SPDX-License-Identifier: Apache-2.0
#
# Linux's i2c-virtio on viola's own adapters: one with a simulated EEPROM and a clock, and one on an adapter of the host, which
# i2c-stub simulates. Reads, writes, transfers of several messages and of none, addresses without a chip.
# limit: 90 s

modprobe -a i2c-dev i2c-virtio
modprobe i2c-stub chip_addr=0x1d
load multi_sound=2

# bus NAME: the number of the first adapter of that name.
bus() { basename "$(dirname "$(grep -lx "$1" /sys/bus/i2c/devices/i2c-*/name | head -n 1)")" | cut -d - -f 2; }
# on N: that of the driver's adapter on the N-th node.
on() { basename /sys/class/viola-loopback/"$(node "$1")"/virtio*/i2c-* | cut -d - -f 2; }
has_bus() { [ -c "/dev/i2c-$(on "$1")" ]; }

cat >/run/scenario/chips.toml <<EOF
[[chip]]
address = 0x50
kind = "eeprom"
contents = "00 01 02 03"
file = "/run/scenario/eeprom"

[[chip]]
address = 0x68
kind = "rtc"
EOF
start_simulated() { device simulated i2c --chips /run/scenario/chips.toml; }
start_viola() {
  start viola viola attach i2c i2c --socket "$(socket simulated)" --socket "$(socket host)" $(loopbacks)
}
start_simulated
device host i2c --adapter "/dev/i2c-$(bus 'SMBus stub driver')"
start_viola
for n in 1 2; do wait_for 20 "adapter $n appears" has_bus $n; done
first=$(on 1)
second=$(on 2)

# is TEXT COMMAND…: whether it writes just that.
is() {
  local text=$1 got
  shift
  got=$("$@" 2>&1) || :
  expect "\"$text\" from $*, not \"$got\"" test "$got" = "$text"
}

fails() { ! "$@" 2>/dev/null; }

found=$(i2cdetect -y -r "$first" | tail -n +2 | cut -d : -f 2 | tr ' ' '\n' | grep -vx -e '' -e -- | tr '\n' ' ')
expect "the chips are found by reads: $found" test "$found" = "50 68 "
found=$(i2cdetect -y -q "$first" | tail -n +2 | cut -d : -f 2 | tr ' ' '\n' | grep -vx -e '' -e -- | tr '\n' ' ')
expect "the chips are found by requests of no length: $found" test "$found" = "50 68 "

is 0x02 i2cget -y "$first" 0x50 2
i2cset -y "$first" 0x50 16 0xab
is 0xab i2cget -y "$first" 0x50 16
is "0x00 0x01 0x02 0x03" i2ctransfer -y "$first" w1@0x50 0 r4
i2ctransfer -y "$first" w3@0x50 32 0x11 0x22
is "0x11 0x22" i2ctransfer -y "$first" w1@0x50 32 r2
is "" i2ctransfer -y "$first" w0@0x50
# The driver says how many messages were done, not that one failed.
is "Warning: only 0/1 messages were sent" i2ctransfer -y "$first" w0@0x51
expect "no chip" fails i2cget -y "$first" 0x51 0

i2cset -y "$second" 0x1d 5 0x77
is 0x77 i2cget -y "$second" 0x1d 5
is 0x77 i2cget -y "$(bus 'SMBus stub driver')" 0x1d 5
expect "no chip on the host's bus" fails i2cget -y "$second" 0x1e 0

kill -KILL "$(pid simulated)"
wait_for 5 "the device ends" gone simulated
start_simulated
wait_for 10 "viola has resumed" has_resumed viola 1
is 0xab i2cget -y "$first" 0x50 16
kill -KILL "$(pid viola)"
wait_for 5 "viola ends" gone viola
start_viola
wait_for 10 "viola has resumed" has_resumed viola 3
is "0x11 0x22" i2ctransfer -y "$first" w1@0x50 32 r2
is 0x77 i2cget -y "$second" 0x1d 5
echo "an EEPROM and a clock, an adapter of the host; no length; device and viola killed"
