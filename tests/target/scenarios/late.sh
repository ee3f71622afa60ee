# SPDX-License-Identifier: Apache-2.0
#
# A device process that starts late, and direct memory, where there is no second life.
# limit: 100 s

load
start viola viola attach sound --loopback /dev/$NODE --socket "$(socket sound)" --memory direct
wait_for 10 "viola says that it waits" says viola "waiting for a back-end"
device sound sound --sink wav:/run/scenario/played.wav
wait_for 20 "the card appears" has_card $NODE
expect "it plays" play "$(card $NODE)" short
expect "bit for bit" same_sound short /run/scenario/played.wav

start aplay play "$(card $NODE)" music
sleep 2
end sound KILL || :
wait_for 5 "aplay ends" gone aplay
if wait "$(pid aplay)"; then fail "aplay says that all is well"; fi
device sound sound --sink wav:/run/scenario/again.wav
wait_for 10 "the second life is refused in words" says viola "Cannot share the driver's memory with another back-end"
before=$(now)
play "$(card $NODE)" short && fail "nothing can be played after that"
took=$(since "$before")
expect "nothing hangs: aplay gave up after $took s" less "$took" 5
expect "viola ends when told to" end viola
echo "late: plays; killed with direct memory: refused, aplay gives up after $took s"
