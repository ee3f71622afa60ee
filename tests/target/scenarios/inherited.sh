# SPDX-License-Identifier: Apache-2.0
#
# AGL's driver brings the kernel down when a child process inherits a mapping of a node: no process of viola's has one that
# can be, neither viola itself, which starts another store process when one ends, nor a device that has the driver's memory
# and starts a command for each playback.
# limit: 100 s

load multi_sound=2
for n in 1 2; do device sound$n sound --sink "exec:cat >/run/scenario/played$n.raw"; done
start viola viola attach --keep sound sound --memory isolated --memory direct $(loopbacks) \
  --socket "$(socket sound1)" --socket "$(socket sound2)"
wait_for_cards

# not_inherited NAME: it has mappings, and none for a child.
not_inherited() {
  local pid
  pid=$(pid "$1")
  expect "$1 has nodes mapped" test "$(mapped "$pid")" -gt 0
  expect "no child inherits a mapping of $1: $(inheritable "$pid")" test -z "$(inheritable "$pid")"
  told="${told:-}$1 $(mapped "$pid"), "
}

for n in 1 2; do start aplay$n play "$(card "$(node $n)")" voice; done
for n in 1 2; do wait_for 5 "command $n runs" test -s /run/scenario/played$n.raw; done
not_inherited viola
not_inherited sound2
pkill -KILL -f "$STORE"
wait_for 5 "another store process runs" pgrep -f "$STORE"
for n in 1 2; do
  wait_for 20 "aplay $n ends" gone aplay$n
  expect "aplay $n ends well" wait "$(pid aplay$n)"
  head -c "$(size $SOUNDS/voice.raw)" /run/scenario/played$n.raw | cmp - $SOUNDS/voice.raw ||
    fail "card $n plays bit for bit"
  expect "nothing was inherited on node $n" test "$(offence "$(node $n)" inherited)" = 0
done
echo "mappings of nodes: ${told}none for a child"
