# SPDX-License-Identifier: Apache-2.0
#
# The driver itself: loads in both releases, one open at a time, the first release is its end; and it counts what would
# bring AGL's kernel down.

load
expect "epsilon's node is there" test -c /dev/loopback
expect "a node that was never open has size 0" test "$(size /dev/loopback)" = 0
exec 5<>/dev/loopback
expect "one that was has 2 GiB" test "$(size /dev/loopback)" = 2147483648
expect "a second open is refused" sh -c '! (exec 6<>/dev/loopback) 2>/dev/null'
exec 5>&-
expect "the release is counted" test "$(offence $NODE release)" = 1
expect "it has 2 GiB ever after" test "$(size /dev/loopback)" = 2147483648
exec 5<>/dev/loopback 5>&-
expect "the open after it is counted" test "$(offence $NODE reopen)" = 1
allow reopen 1
unload

load multi_sound=4
expect "multi-sound has as many nodes as it is told" test "$(echo "$NODES" | grep -c '^loopback-[0-9]*$')" = 4
expect "named after their majors" test "$(ls -l /dev/$NODE | awk '{ print $5 }')" = "${NODE#loopback-},"

# misuses N WHAT STATUS KIND COUNT: misuse of the N-th node ends so, and was counted so often.
misuses() {
  local status=0
  misuse "/dev/$(node "$1")" "$2" || status=$?
  expect "exit status $3 of misuse $2, not $status" test $status = "$3"
  expect "misuse $2 is offence $4 $5 times" test "$(offence "$(node "$1")" "$4")" = "$5"
}

misuses 1 dontfork 0 inherited 0
misuses 2 split 0 inherited 0
misuses 3 fork 1 inherited 3
expect "reading memory after a fork is counted" test "$(offence "$(node 3)" entry)" = 1
misuses 4 many 2 mappings 1
for kind in "inherited 3" "entry 1" "mappings 1"; do allow $kind; done
echo "both releases; a fork with 3 mappings: 3 are inherited, memory cannot be read after it"
