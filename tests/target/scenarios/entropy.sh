# SPDX-License-Identifier: Apache-2.0
#
# /dev/hwrng gives 1 MiB from the embedded entropy device, without a stall.
# limit: 180 s

load
device rng rng
start viola viola attach rng --socket "$(socket rng)" --loopback /dev/$NODE
wait_for 15 "the driver uses it" grep -q virtio_rng /sys/class/misc/hw_random/rng_current

# A missed wake-up would cost a second, for the driver looks again by itself then.
began=$(now)
before=0
start dd dd if=/dev/hwrng bs=64 count=16384 of=/run/scenario/entropy
sleep 1
until gone dd; do
  bytes=$(size /run/scenario/entropy)
  expect "it goes on: $bytes bytes after $(since "$began") s" test "$bytes" -gt "$before"
  before=$bytes
  sleep 1
done
took=$(since "$began")
expect "1 MiB was read" test "$(size /run/scenario/entropy)" = 1048576
longest=$(statistic $NODE longest_us)
expect "no register access waited a second: $longest us" test "$longest" -lt 1000000

# Of 2^20 random bytes 4096 are zero, give or take six standard deviations.
zeros=$((1048576 - $(tr -d '\000' </run/scenario/entropy | wc -c)))
expect "it looks random: $zeros zeros" test $zeros -gt 3712 -a $zeros -lt 4480
echo "1 MiB in $took s; register access: median $(statistic $NODE median_us) us, longest $longest us"
