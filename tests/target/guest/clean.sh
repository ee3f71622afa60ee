# SPDX-License-Identifier: Apache-2.0
#
# Ends what a scenario left: its processes, in order if they will, and the driver. Fails if the driver counted an offence
# that the scenario did not announce (a release is none: every node ends so), or if something will not end.
session=$(cat /run/scenario/session)
. /target/lib.sh

stores() { pgrep -f "$STORE"; }

alive() { pgrep -s "$session" >/dev/null; }

# Waits up to 6 s for the processes to end.
ended() {
  for _ in $(seq 60); do
    alive || return 0
    sleep 0.1
  done
  return 1
}

status=0
touch /run/scenario/allowed
found=$(offences)
pkill -TERM -s "$session"
if ! ended; then
  left=$(pgrep -l -s "$session" | tr '\n' ' ')
  pkill -KILL -s "$session"
  status=1
fi
# The store process, which holds nodes open, is in a session of its own.
for pid in $(stores); do kill -TERM "$pid"; done
for _ in $(seq 30); do stores >/dev/null && sleep 0.1; done
[ -n "$found" ] || found=$(offences)
if [ -d /sys/module/viola_loopback ] && ! rmmod viola_loopback; then
  left="${left:-} the driver"
  status=1
fi
if [ -n "$found" ]; then status=1; fi
if [ $status != 0 ] && [ "$1" = 0 ]; then echo "${found:+$(echo $found)}${left:+ does not end: $left}"; fi
exit $status
