# SPDX-License-Identifier: Apache-2.0
#
# /dev/hwrng gives 1 MiB from the embedded entropy device, without a stall.
# limit: 180 s

load
device rng rng
start viola viola attach rng --socket "$(socket rng)" --loopback /dev/$NODE
read_entropy
