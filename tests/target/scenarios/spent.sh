# SPDX-License-Identifier: Apache-2.0
#
# A node that was open once and is so no longer is refused in words, and not opened.
# limit: 100 s

load multi_sound=4
device sound sound --sink wav:/run/scenario/played.wav
spent="unusable.*restart the machine"

# Let go of by somebody else.
exec 5<>/dev/$NODE 5>&-
refuses 2 "$spent" viola attach sound --loopback /dev/$NODE --socket "$(socket sound)"
refuses 1 "$spent" virtio-loopback-adapter -l "${NODE#loopback-}" -d vhusnd -s "$(socket sound)"
refuses 0 "was not kept; it was closed and is unusable: restart the machine" viola forget /dev/$NODE

# Forgotten, and let go of by viola.
second=$(node 2)
start viola viola attach sound --loopback "/dev/$second" --socket "$(socket sound)"
wait_for 20 "the card appears" has_card "$second"
refuses 0 "forgotten; process $(pid viola) has it open" viola forget "/dev/$second"
expect "viola ends when told to" end viola
refuses 2 "$spent" viola attach sound --loopback "/dev/$second" --socket "$(socket sound)"

# Let go of by viola, as it was told to, then forgotten.
third=$(node 3)
start third viola attach sound --no-keep --loopback "/dev/$third" --socket "$(socket sound)"
wait_for 20 "the card appears" has_card "$third"
expect "viola ends when told to" end third
refuses 2 "$spent" viola attach sound --loopback "/dev/$third" --socket "$(socket sound)"

# Forgotten when its viola is dead.
fourth=$(node 4)
start fourth viola attach sound --loopback "/dev/$fourth" --socket "$(socket sound)"
wait_for 20 "the card appears" has_card "$fourth"
end fourth KILL || :
refuses 0 "forgotten; it was closed and is unusable: restart the machine" viola forget "/dev/$fourth"
refuses 2 "$spent" viola attach sound --loopback "/dev/$fourth" --socket "$(socket sound)"

for node in $NODES; do expect "$node was not opened again" test "$(offence "$node" reopen)" = 0; done
echo "4 spent nodes are refused without opening them"
