# SPDX-License-Identifier: Apache-2.0
#
# The driver itself: loads in both releases, one open at a time, the first release is its end.

load
expect "epsilon's node is there" test -c /dev/loopback
exec 5<>/dev/loopback
expect "a second open is refused" sh -c '! (exec 6<>/dev/loopback) 2>/dev/null'
exec 5>&-
expect "the release is counted" test "$(offence $NODE release)" = 1
exec 5<>/dev/loopback 5>&-
expect "the open after it is counted" test "$(offence $NODE reopen)" = 1
unload

load multi_sound=2
expect "multi-sound has two nodes" test "$(echo "$NODES" | grep -c '^loopback-[0-9]*$')" = 2
expect "named after their majors" test "$(ls -l /dev/$NODE | awk '{ print $5 }')" = "${NODE#loopback-},"
echo "both releases"
