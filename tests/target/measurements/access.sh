# SPDX-License-Identifier: Apache-2.0
#
# How long a register access waits, by the driver's own counters, and a round trip of two eventfds between two threads of
# C. Who asks reads the device's status from sysfs, one register access each time. On one processor it is the work that
# shows, on two the wake-up.
# limit: 100 s

. /target/measure.sh

ROUNDS=7
COUNT=1000
WARM_UP=3000

load
device sound sound
start viola viola attach sound --loopback /dev/$NODE --socket "$(socket sound)" --cpus 1
wait_for 20 "the card appears" has_card $NODE
status=$(echo /sys/class/viola-loopback/$NODE/virtio*/status)
expect "the device is in use" test "$(cat "$status")" = 0x0000000f

# asked CPU WHOM: nanoseconds of each round trip.
asked() { floor $COUNT "$1" "$2"; }

# percentile SHARE: of numbers, in microseconds of nanoseconds.
percentile() { sort -n | awk -v share="$1" '{ t[NR] = $1 } END { print t[int((NR - 1) * share) + 1] / 1000 }'; }

measure() {
  asked "$1" 1 >/run/scenario/times
  figure "floor-$2" "$(percentile 0.5 </run/scenario/times)"
  figure "floor-$2-p99" "$(percentile 0.99 </run/scenario/times)"
  echo >$DEBUGFS/$NODE/stats
  asked "$1" "$status" >/dev/null
  expect "accesses are counted" test "$(statistic $NODE accesses)" -ge $COUNT
  figure "access-$2" "$(statistic $NODE median_us)"
  figure "access-$2-p99" "$(statistic $NODE p99_us)"
}

floor $WARM_UP 0 "$status" >/dev/null
for _ in $(seq $ROUNDS); do
  measure 1 one
  measure 0 two
done
echo "$ROUNDS rounds of $COUNT accesses"
