#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Asks for a scenario by the line "next" on the port "report", runs the one that is answered, reports "end NAME STATUS SECONDS
# TEXT", and asks again, until the answer is empty; says "alive UPTIME" now and then. What a scenario says goes out while it runs, on the port "log"; all
# that it wrote goes out at its end, as an archive on the port "files", one after another.

# The device of a virtio port, by its name.
port() { echo "/dev/$(basename "$(dirname "$(grep -lx "$1" /sys/class/virtio-ports/*/name)")")"; }

# What the kernel says when something of it broke.
broken='WARNING:|BUG:|Oops|Call trace|Unable to handle|blocked for more than|rcu.*stall|scheduling while atomic'

uptime_s() { cut -d ' ' -f 1 /proc/uptime; }

# Runs one. The last line that it wrote tells what came of it.
run() {
  log=/out/$1.log
  limit=$(sed -n 's/^# limit: \([0-9]*\) s$/\1/p' "/target/scenarios/$1.sh")
  dmesg -c >/dev/null
  echo "scenario $1" >/dev/kmsg
  echo "scenario $1" >&4
  : >"$log"
  tail -n +1 -f "$log" >&4 &
  live=$!
  since=$(uptime_s)
  status=0
  setsid timeout -s KILL "${limit:-60}" sh /target/scenario.sh "$1" >>"$log" 2>&1 || status=$?
  if [ $status = 137 ]; then echo "not done after ${limit:-60} s" >>"$log"; fi
  sh /target/clean.sh $status >>"$log" 2>&1 || status=1
  dmesg >"/out/$1.dmesg"
  if grep -qE "$broken" "/out/$1.dmesg"; then
    status=1
    echo "the kernel says: $(grep -m 1 -E "$broken" "/out/$1.dmesg")" >>"$log"
  fi
  seconds=$(echo "$(uptime_s) $since" | awk '{ printf "%.1f", $1 - $2 }')
  kill $live
  wait $live 2>/dev/null
  text=$(tail -n 1 "$log")
  tar cf - -C /out . >&5
  rm -rf /out/*
  echo "end $1 $status $seconds $text" >&3
}

mkdir -p /out
exec 3<>"$(port report)" 4>"$(port log)" 5>"$(port files)"
while :; do
  echo "alive $(uptime_s)" >&3
  sleep 10
done &
while echo next >&3 && read -r name <&3 && [ -n "$name" ]; do run "$name"; done
