# SPDX-License-Identifier: Apache-2.0
#
# How long it takes from the start of viola to ALSA's cards, and to the first sample at the devices. They listen before,
# and hand on what they get at once. Times are those of files: to 4 ms, what the kernel stamps them with.
# limit: 120 s

. /target/measure.sh

ROUNDS=3

# moment FILE: its time of change.
moment() { stat -c '%Z %z' "$1" | sed 's/ .*\(\.[0-9]*\) .*/\1/'; }

# took NAME FILE…: milliseconds from the mark to the last of the files.
took() {
  local name=$1 file latest=0
  shift
  for file in "$@"; do if less $latest "$(moment "$file")"; then latest=$(moment "$file"); fi; done
  figure "$name" "$(compute '(b - a) * 1000' "$(moment /run/scenario/mark)" "$latest")"
}

mark() { touch /run/scenario/mark; }

# await PATH…: polls often, and without much work.
await() {
  local tries=1500 path
  for path in "$@"; do
    until [ -e "$path" ]; do
      tries=$((tries - 1))
      [ $tries -gt 0 ] || fail "$path is there, not after 30 s"
      usleep 20000
    done
  done
}

# each FORMAT: once per card, with its number from 0.
each() { local n; for n in $(seq 0 $((cards - 1))); do printf "$1\n" "$n"; done; }

start_version() {
  mark
  viola --version >/dev/null
  touch /run/scenario/end
  took version /run/scenario/end
}

play_first() { aplay -q -D "hw:$1,0" -t raw -f S16_LE -c 2 -r 48000 --period-size=480 --buffer-size=1920 /run/scenario/first.raw; }

# A card's number is its place here: viola joins them in any order, but what is played is the same on all.
start_cards() {
  local players="" n
  cards=$1
  load multi_sound=$cards
  rm -f /run/scenario/heard*
  mark
  viola attach $(each sound) $(loopbacks) $(each '--socket /run/scenario/sound%d.socket') --json >"$(log viola)" 2>&1 &
  echo $! >/run/scenario/viola.pid
  await $(each /dev/snd/pcmC%dD0p) $(each /dev/snd/controlC%d)
  for n in $(each %d); do
    play_first "$n" &
    players="$players $!"
  done
  for n in $players; do expect "aplay ends well" wait "$n"; done
  await $(each /run/scenario/heard%d)
  took cards$cards $(each /dev/snd/pcmC%dD0p) $(each /dev/snd/controlC%d)
  took first$cards $(each /run/scenario/heard%d)
  for n in $(each %d); do
    expect "the device hears what is played" cmp /run/scenario/frame.raw "/run/scenario/heard$n"
  done
  expect "viola ends well" end viola
  end_store
  unload
}

# dd ends with the first frame, and its file is written then.
head -c 1920 $SOUNDS/music.raw >/run/scenario/first.raw
head -c 4 $SOUNDS/music.raw >/run/scenario/frame.raw
for n in 0 1; do
  device sound$n sound --pace free --sink "exec:dd bs=4 count=1 of=/run/scenario/heard$n 2>/dev/null; exec cat >/dev/null"
done

for _ in $(seq $ROUNDS); do
  start_version
  start_cards 1
  start_cards 2
done
echo "$ROUNDS starts each"
