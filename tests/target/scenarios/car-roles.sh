# SPDX-License-Identifier: Apache-2.0
#
# The car's set-up with WirePlumber's policy by roles: the voice begins to speak in the middle of the music, and the music
# is turned down for as long as it speaks, without anybody's doing.
# limit: 120 s

. /target/car/set-up.sh
sound_server --profile roles
daemon music Multimedia
daemon voice Navigation
attach_both

record ducked
start_music
sleep 2
play_voice
await_music
end_record
echo "turned down by role"
