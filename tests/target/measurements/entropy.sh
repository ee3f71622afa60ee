# SPDX-License-Identifier: Apache-2.0
#
# How fast /dev/hwrng is: with viola's entropy device, both ways to memory, and with rust-vmm's; in blocks of one request
# and of 64.
# limit: 180 s

. /target/measure.sh

ROUNDS=3
BYTES=16384
RNG=/sys/class/misc/hw_random

# attach NAME SOCKET NUMBER [OPTION…]: drivers are numbered as they come.
attach() {
  local name=$1 socket=$2 number=$3
  shift 3
  start "viola-$name" viola attach rng --socket "$socket" --loopback "/dev/$(node $((number + 1)))" "$@"
  wait_for 20 "the driver uses $name" grep -q "virtio_rng.$number" $RNG/rng_available
}

load multi_sound=3
device embedded rng
device direct rng
# It numbers its sockets.
start daemon vhost-device-rng --socket-path /run/scenario/rng --rng-source /dev/urandom
wait_for 15 "the daemon listens" test -S /run/scenario/rng0
attach embedded "$(socket embedded)" 0
attach daemon /run/scenario/rng0 1
attach direct "$(socket direct)" 2 --memory direct

# read_some DEVICE NUMBER BLOCK
read_some() {
  local began
  echo "virtio_rng.$2" >$RNG/rng_current
  began=$(now)
  dd if=/dev/hwrng bs="$3" count=$((BYTES / $3)) of=/run/scenario/entropy
  figure "$1-$3" "$(compute "$BYTES / (b - a) / 1000" "$began" "$(now)")"
  expect "all of it was read" test "$(size /run/scenario/entropy)" = $BYTES
}

read_all() {
  read_some embedded 0 "$1"
  read_some daemon 1 "$1"
  read_some direct 2 "$1"
}

read_all 64 # once for the compilers
rm /out/$SCENARIO.figures
for _ in $(seq $ROUNDS); do
  read_all 64
  read_all 4096
done
echo "$ROUNDS times $BYTES bytes"
