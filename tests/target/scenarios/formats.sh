# SPDX-License-Identifier: Apache-2.0
#
# Formats, rates, channels and period sizes, played bit for bit; and what applications do besides playing.
# limit: 150 s

load
start viola viola attach sound --loopback /dev/$NODE --socket "$(socket sound)"
device sound sound --sink wav:/run/scenario/played.wav
wait_for 20 "the card appears" has_card $NODE
hw=hw:$(card $NODE),0

for sound in short mono-8k stereo-44k s24_3 s32-96k s16-192k float; do
  expect "$sound is played" aplay -q -D "$hw" "$SOUNDS/$sound.wav"
  expect "$sound is played bit for bit" same_sound $sound /run/scenario/played.wav
done
# In frames: period, buffer.
for sizes in "480 7680" "512 8192" "1024 8192" "4000 16000"; do
  expect "periods of $sizes" aplay -q -D "$hw" --period-size="${sizes% *}" --buffer-size="${sizes#* }" $SOUNDS/short.wav
  expect "periods of $sizes bit for bit" same_sound short /run/scenario/played.wav
done

# Paused for three seconds, by the key that aplay takes for it.
press_space() { sleep 1 && printf ' ' && sleep 3 && printf ' ' && sleep 3; }
paused() { grep -q PAUSED "/proc/asound/card$(card $NODE)/pcm0p/sub0/status"; }
play_with_pause() { press_space | script -qe -c "aplay -q -i -D $hw $SOUNDS/short.wav" /dev/null; }
start paused play_with_pause
wait_for 5 "it pauses" paused
wait_for 15 "aplay ends after a pause" gone paused
expect "aplay ends well after a pause" wait "$(pid paused)"
expect "bit for bit after a pause" same_sound short /run/scenario/played.wav

# Dropped in mid-play, then played well again.
start dropped aplay -q -D "$hw" $SOUNDS/music.wav
sleep 1
kill "$(pid dropped)"
wait_for 5 "aplay ends when told to" gone dropped
expect "it plays after a drop" play "$(card $NODE)" short
expect "bit for bit after a drop" same_sound short /run/scenario/played.wav

# Stopped for two seconds: an underrun that aplay tells and gets over.
start underrun aplay -D "$hw" $SOUNDS/short.wav
sleep 1
kill -STOP "$(pid underrun)"
sleep 2
kill -CONT "$(pid underrun)"
wait_for 10 "aplay ends after an underrun" gone underrun
expect "aplay ends well after an underrun" wait "$(pid underrun)"
expect "aplay tells the underrun" says underrun underrun

expect "speaker-test" speaker-test -D "$hw" -c 2 -t sine -l 1 -F S16_LE >/dev/null
expect "amixer" amixer -c "$(card $NODE)" >/dev/null
expect "alsactl" alsactl -f /run/scenario/state store "$(card $NODE)"
expect "no error" sh -c "! grep -i cannot $(log viola)"
echo "7 recordings in 4 formats, 4 period sizes, pause, drop, underrun, speaker-test, amixer, alsactl"
