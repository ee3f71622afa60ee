# SPDX-License-Identifier: Apache-2.0
#
# A player starts as a killed device comes back, at several moments of that, while what the player before it asked for in
# vain still lies in the driver's ring; and one starts as the player before it is killed. None is refused.
# limit: 150 s

# next_player: plays a recording to its end; whoever opens the card too early may have to try again, but is not refused.
next_player() {
  local tries=3
  until play "$(card $NODE)" short 2>/run/scenario/refusal; do
    cat /run/scenario/refusal
    expect "the next player is not refused: $(cat /run/scenario/refusal)" grep -q 'timed out' /run/scenario/refusal
    tries=$((tries - 1)) late=$((late + 1))
    expect "the next player is served" test $tries -gt 0
  done
  expect "bit for bit" same_sound short /run/scenario/played.wav
}

listen() { start sound viola device sound --socket "$(socket sound)" --sink wav:/run/scenario/played.wav; }

late=0
load
listen
start viola viola attach sound --loopback /dev/$NODE --socket "$(socket sound)"
wait_for 20 "the card appears" has_card $NODE

for delay in 0 0.2 0.4 0.6 0.8 1; do
  start aplay play "$(card $NODE)" music
  sleep 1
  end sound KILL || :
  wait_for 10 "aplay gives up" gone aplay
  listen
  sleep $delay
  next_player
done

for _ in 1 2 3 4 5 6 7 8 9 10; do
  start aplay aplay -q -D "hw:$(card $NODE),0" $SOUNDS/music.wav
  sleep 0.5
  kill -KILL "$(pid aplay)"
  next_player
done
expect "viola ends well" end viola
echo "6 returns of the device, 10 killed players: the next player was served; $late times at a later try"
