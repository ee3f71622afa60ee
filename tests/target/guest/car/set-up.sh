# SPDX-License-Identifier: Apache-2.0
#
# The car's set-up, for scenarios: a sink, "loudspeakers", without hardware, and two cards whose daemons play into it.

PERIOD=8192
export XDG_CONFIG_HOME=/target/car XDG_STATE_HOME=/run/scenario/state XDG_RUNTIME_DIR=/run/scenario
chmod 700 $XDG_RUNTIME_DIR

has_port() { pw-link -o -i | grep -qx "$1"; }

# sound_server [OPTION…]: PipeWire, and WirePlumber with these options.
sound_server() {
  start pipewire pipewire
  wait_for 20 "PipeWire's socket is there" test -S $XDG_RUNTIME_DIR/pipewire-0
  start wireplumber wireplumber "$@"
  wait_for 30 "the loudspeakers have ports" has_port loudspeakers:monitor_FR
}

# daemon NAME ROLE: by its name the daemon's stream is told from the other's, by its role WirePlumber knows what it is for.
# Its log tells how much it took of each request (losses.ts).
daemon() {
  start "$1" env "PIPEWIRE_PROPS={ node.name=$1 application.name=$1 media.role=$2 }" \
    RUST_LOG=vhost_device_sound::stream=trace,vhost_device_sound::audio_backends::pipewire=debug \
    vhost-device-sound --socket "$(socket "$1")" --backend pipewire
  wait_for 20 "the daemon for $1 listens" test -S "$(socket "$1")"
}

# The two cards, whichever is which; asked without a process, which would be work for the processors that viola starts on.
ready() {
  local n
  for n in 0 1; do [ -e /dev/snd/controlC$n ] && [ -e /dev/snd/pcmC${n}D0p ] || return 1; done
}

# attach_both: in the end there are two cards, $READY s after viola's start.
attach_both() {
  load multi_sound=2
  began=$(now)
  start viola viola attach sound sound $(loopbacks) --socket "$(socket music)" --socket "$(socket voice)"
  wait_for 30 "both cards appear" ready
  READY=$(since "$began")
}

record_to() {
  exec pw-record --raw --format f32 --rate 48000 --channels 2 --target loudspeakers \
    -P '{ stream.capture.sink=true }' - >"$1"
}

# record NAME: what the loudspeakers play, as floats. Running when this returns.
record() {
  start recorder record_to "/out/$SCENARIO.$1.f32"
  wait_for 20 "the recording begins" test -s "/out/$SCENARIO.$1.f32"
}

# Half a second more, so that it shows that nothing comes late.
end_record() {
  sleep 0.5
  end recorder || : # it calls being ended a failure
}

play_part() {
  aplay -q -D "hw:$(card "$(node "$1")"),0" --period-size=$PERIOD --buffer-size=$((5 * PERIOD)) "$SOUNDS/car-$2.wav"
}

start_music() { start play-music play_part 1 music; }
await_music() { expect "the music is played" wait "$(pid play-music)"; }
play_voice() { expect "the voice is played" play_part 2 voice; }
