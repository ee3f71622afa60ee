# SPDX-License-Identifier: Apache-2.0
#
# The car's set-up: PipeWire and WirePlumber, two vhost-device-sound that play into one sink, two cards. Music and voice
# are played at once; then again, with the music's stream turned down by wpctl while the voice speaks. Both is recorded
# from the sink's monitor, and taken apart on the machine that emulates this one (car.ts). The voice's daemon has a CPU.
# limit: 120 s

. /target/car/set-up.sh
sound_server
daemon music Multimedia
daemon voice Navigation
taskset -a -p -c 1 "$(pid voice)" >/dev/null
for task in /proc/"$(pid voice)"/task/*; do
  expect "all of the voice's daemon is bound to CPU 1" grep -qx 'Cpus_allowed_list:.1' "$task/status"
done
attach_both

record mix
start_music
play_voice
await_music
end_record

record turned
start_music
sleep 2
expect "the music is turned down" wpctl set-volume --pid "$(pid music)" 50%
play_voice
expect "the music is turned up" wpctl set-volume --pid "$(pid music)" 100%
await_music
end_record

began=$(now)
viola --version
bare=$(since "$began")
expect "two cards within 2.1 s, the run-time's start of $bare s apart: $READY s" less "$READY" "$(echo "$bare" | awk '{ print 2.1 + $1 }')"
echo "two cards ready in $READY s, of which the run-time's start $bare s"
