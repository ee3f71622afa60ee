# SPDX-License-Identifier: Apache-2.0
#
# /dev/hwrng gives 1 MiB from the embedded entropy device, without a stall.
# limit: 120 s

load
device rng rng
start viola viola attach rng --socket "$(socket rng)" --loopback /dev/$NODE
wait_for 15 "the driver uses it" grep -q virtio_rng /sys/class/misc/hw_random/rng_current

# Pieces of 8 KiB, each far below a second: a missed wake-up costs one.
began=$(now)
slowest=0
for _ in $(seq 128); do
  before=$(now)
  expect "/dev/hwrng can be read" dd if=/dev/hwrng bs=64 count=128 of=/tmp/piece 2>/dev/null
  expect "/dev/hwrng gives all that is asked for" test "$(size /tmp/piece)" = 8192
  cat /tmp/piece >>/tmp/entropy
  took=$(since "$before")
  less "$took" "$slowest" || slowest=$took
done
expect "no stall: the slowest 8 KiB took $slowest s" less "$slowest" 1

# Of 2^20 random bytes 4096 are zero, give or take six standard deviations.
zeros=$((1048576 - $(tr -d '\000' </tmp/entropy | wc -c)))
expect "it looks random: $zeros zeros" test $zeros -gt 3712 -a $zeros -lt 4480
echo "1 MiB in $(since "$began") s, slowest 8 KiB in $slowest s, register access median $(statistic $NODE median_us) us"
