# SPDX-License-Identifier: Apache-2.0
#
# What measurements are written with, beside lib.sh.

# figure NAME VALUE: what was measured, once per round.
figure() { echo "$1 $2" >>/out/$SCENARIO.figures; }

# compute EXPRESSION NUMBER…: a and b in the expression are the numbers.
compute() { awk -v a="$2" -v b="${3:-0}" "BEGIN { print $1 }"; }

# megabytes NAME: a process's resident memory.
megabytes() { awk '/^VmRSS/ { print $2 * 1024 / 1e6 }' "/proc/$(pid "$1")/status"; }

# cpu NAME: seconds of processor time so far, of all its threads.
cpu() { awk '{ print ($14 + $15) / 100 }' "/proc/$(pid "$1")/stat"; }
