#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs the scenarios listed in /target/list, one after another, and reports each as a line on the port "report":
# "begin NAME", then "end NAME STATUS SECONDS TEXT". All that they wrote goes out as an archive on the port "files".

# The device of a virtio port, by its name.
port() { echo "/dev/$(basename "$(dirname "$(grep -lx "$1" /sys/class/virtio-ports/*/name)")")"; }

# What the kernel says when something of it broke.
broken='WARNING:|BUG:|Oops|Call trace|Unable to handle|blocked for more than|rcu.*stall|scheduling while atomic'

uptime_s() { cut -d ' ' -f 1 /proc/uptime; }

# Runs one. The last line that it wrote tells what came of it.
run() {
  log=/out/$1.log
  limit=$(sed -n 's/^# limit: \([0-9]*\) s$/\1/p' "/target/scenarios/$1.sh")
  echo "begin $1" >&3
  dmesg -c >/dev/null
  echo "scenario $1" >/dev/kmsg
  since=$(uptime_s)
  status=0
  setsid timeout -s KILL "${limit:-60}" sh /target/scenario.sh "$1" >"$log" 2>&1 || status=$?
  if [ $status = 137 ]; then echo "not done after ${limit:-60} s" >>"$log"; fi
  sh /target/clean.sh $status >>"$log" 2>&1 || status=1
  dmesg >"/out/$1.dmesg"
  if grep -qE "$broken" "/out/$1.dmesg"; then
    status=1
    echo "the kernel says: $(grep -m 1 -E "$broken" "/out/$1.dmesg")" >>"$log"
  fi
  seconds=$(echo "$(uptime_s) $since" | awk '{ printf "%.1f", $1 - $2 }')
  echo "end $1 $status $seconds $(tail -n 1 "$log")" >&3
}

mkdir -p /out
exec 3>"$(port report)"
for name in $(cat /target/list); do run "$name"; done
tar cf "$(port files)" -C /out .
