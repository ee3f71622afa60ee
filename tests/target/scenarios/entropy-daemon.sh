# SPDX-License-Identifier: Apache-2.0
#
# /dev/hwrng gives 1 MiB from rust-vmm's vhost-device-rng, without a stall.
# limit: 180 s

load
# It numbers its sockets.
start rng vhost-device-rng --socket-path /run/scenario/rng --rng-source /dev/urandom
wait_for 15 "the daemon listens" test -S /run/scenario/rng0
start viola viola attach rng --socket /run/scenario/rng0 --loopback /dev/$NODE
read_entropy
