# SPDX-License-Identifier: Apache-2.0
#
# What scenarios are written with. Each is a shell script that ends with a line on what it saw; a step that fails ends it.

DEBUGFS=/sys/kernel/debug/viola-loopback
SOUNDS=/target/sounds

# The store process, as pgrep finds it.
STORE='^[^ ]*viola store '

# The shell would take its own instead.
ip() { /bin/ip "$@"; }
ping() { /bin/ping "$@"; }
i2cdetect() { /sbin/i2cdetect "$@"; }
i2cget() { /sbin/i2cget "$@"; }
i2cset() { /sbin/i2cset "$@"; }
i2ctransfer() { /sbin/i2ctransfer "$@"; }

# What a scenario does at its end in any case, while its processes still run.
at_end() { :; }

# The last lines of all logs: a machine that hangs afterwards leaves nothing else.
last_words() { tail -n 4 /out/"$SCENARIO".*.log 2>/dev/null || :; }

# Ends the scenario.
fail() {
  REASON=$*
  exit 1
}

# expect TEXT COMMAND…: the scenario ends if the command fails.
expect() {
  local reason=$1
  shift
  "$@" || fail "$reason"
}

# wait_for SECONDS TEXT COMMAND…: tries until it succeeds.
wait_for() {
  local tries=$(($1 * 10)) reason="$2, not after $1 s"
  shift 2
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "$reason"
    sleep 0.1
  done
}

now() { cut -d ' ' -f 1 /proc/uptime; }

# since TIME: seconds.
since() { echo "$(now) $1" | awk '{ printf "%.2f", $1 - $2 }'; }

# less A B: whether A < B, for numbers with fractions.
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 < b + 0) }'; }

# ---- the driver ----

# load [PARAMETER=VALUE…]: loads the driver; NODES are its nodes, NODE the first.
load() {
  expect "the driver does not load" insmod /target/viola_loopback.ko "$@"
  NODES=$(ls $DEBUGFS)
  NODE=${NODES%%
*}
}

# node N: the N-th node's name, from 1.
node() { echo "$NODES" | sed -n "${1}p"; }

# allow KIND COUNT: the scenario commits this offence on purpose.
allow() { echo "$1 $2" >>/run/scenario/allowed; }

# offence NODE KIND: how often it was counted.
offence() { sed -n "s/^$2 //p" "$DEBUGFS/$1/offences"; }

# offences: those that the scenario did not announce; a release is none, every node ends so.
offences() {
  local node
  for node in $(ls $DEBUGFS 2>/dev/null); do
    grep -v -e ' 0$' -e '^release ' $DEBUGFS/$node/offences | grep -vxFf /run/scenario/allowed | sed "s/^/$node: offence /"
  done
}

# unload: the driver, with all that it counted.
unload() {
  expect "no offence: $(echo $(offences))" test -z "$(offences)"
  rmmod viola_loopback
}

# statistic NODE NAME
statistic() { sed -n "s/^$2 //p" "$DEBUGFS/$1/stats"; }

# ---- processes ----

# start NAME COMMAND…: in the background, what it says in a log.
start() {
  local name=$1
  shift
  echo "at $(now) s: $*" >>"$(log "$name")"
  "$@" >>"$(log "$name")" 2>&1 &
  echo $! >/run/scenario/$name.pid
}

# log NAME
log() { echo "/out/$SCENARIO.$1.log"; }

pid() { cat "/run/scenario/$1.pid"; }

# says NAME TEXT: whether it has said so.
says() { grep -q -e "$2" "$(log "$1")"; }

# end NAME [SIGNAL]: within 5 s; its exit status is the result.
end() {
  kill -"${2:-TERM}" "$(pid "$1")"
  wait_for 5 "$1 ends" gone "$1"
  wait "$(pid "$1")"
}

# end_store: the process that holds the nodes while no viola runs.
end_store() {
  pkill -TERM -f "$STORE"
  wait_for 5 "the store process ends" sh -c "! pgrep -f '$STORE'"
}

gone() { ! kill -0 "$(pid "$1")" 2>/dev/null || grep -q '^State:.Z' "/proc/$(pid "$1")/status"; }

# device NAME CLASS [OPTION…]: viola's own, at the socket that socket NAME tells.
device() {
  local name=$1
  shift
  start "$name" viola device "$@" --socket "$(socket "$name")"
  wait_for 15 "$name listens" test -S "$(socket "$name")"
}

socket() { echo "/run/scenario/$1.socket"; }

# resumed NAME: how often its log says that a device has resumed.
resumed() { grep -c 'resumed: ' "$(log "$1")" || :; }

# has_resumed NAME COUNT: whether it says so as often.
has_resumed() { test "$(resumed "$1")" -ge "$2"; }

# mapped PID: how many mappings of nodes a process has.
mapped() { grep -c ' /dev/loopback' "/proc/$1/maps"; }

# inheritable PID: those of them that a child process would inherit.
inheritable() {
  awk '/^[0-9a-f]+-[0-9a-f]+ / { node = $6 ~ /^\/dev\/loopback/ ? $1 " " $6 : "" }
    /^VmFlags:/ && node != "" && !/ dc( |$)/ { print node }' "/proc/$1/smaps"
}

# ---- cards ----

# card NODE: the number of its ALSA card.
card() { basename /sys/class/viola-loopback/"$1"/virtio*/sound/card* | grep -o '[0-9]*$'; }

# A card is there when its last device is.
has_card() { [ -e "/dev/snd/controlC$(card "$1")" ] && ls /dev/snd/pcmC"$(card "$1")"D0[pc] >/dev/null; }

size() { stat -c %s "$1"; }

# same_sound NAME FILE [HEADER]: whether a file holds the sound behind its header (by default as long as viola writes it) and
# nothing but silence behind that: ALSA fills the last period.
# The file is gone then, so that it cannot be taken for the next one.
same_sound() {
  local header samples
  header=${3:-$(($(size "$SOUNDS/$1.wav") - $(size "$SOUNDS/$1.raw")))}
  samples=$(size "$SOUNDS/$1.raw")
  tail -c +$((header + 1)) "$2" | head -c "$samples" | cmp - "$SOUNDS/$1.raw" &&
    [ "$(tail -c +$((header + samples + 1)) "$2" | tr -d '\000' | wc -c)" = 0 ] && rm "$2"
}

# heard NAME FILE TIMES WORDS: whether a WAV file holds all of the sound, and in so many places at most so many words (of
# four bytes) of it twice; says how much.
heard() {
  sh /target/heard.sh "$SOUNDS/$1.raw" "$2" $(($(size "$SOUNDS/$1.wav") - $(size "$SOUNDS/$1.raw"))) "$3" "$4"
}

# play CARD NAME: a recording, to its end.
play() { aplay -q -D "hw:$1,0" "$SOUNDS/$2.wav"; }

# ---- two cards: what several scenarios do with them ----

# Registers of version 1 for one card, of version 2 for the other.
BOTH_VERSIONS="--mmio-version 1 --mmio-version 2"

TWO_SOUNDS="music voice"

# Two sound devices: what is played goes to files, what is recorded comes from recordings.
two_devices() {
  local n sound
  for n in 1 2; do
    sound=$(echo $TWO_SOUNDS | cut -d ' ' -f $n)
    device sound$n sound --sink "wav:/run/scenario/played$n.wav" --source "wav:$SOUNDS/$sound.wav"
  done
}

# loopbacks: an option for each node.
loopbacks() { local name; for name in $NODES; do echo "--loopback /dev/$name"; done; }

wait_for_cards() {
  local n
  for n in 1 2; do wait_for 20 "card $n appears" has_card "$(node $n)"; done
}

# at_once COMMAND: with 1 and with 2, both in the end successful.
at_once() {
  local first second
  "$@" 1 &
  first=$!
  "$@" 2 &
  second=$!
  wait $first && wait $second
}

play_one() { play "$(card "$(node "$1")")" "$(echo $TWO_SOUNDS | cut -d ' ' -f "$1")"; }

record_one() {
  arecord -q -D "hw:$(card "$(node "$1")"),0" -t raw -f S16_LE -c 2 -r 48000 -d 10 "/run/scenario/recorded$1.raw"
}

play_and_record() {
  local n sound
  wait_for_cards
  expect "both are played" at_once play_one
  expect "both are recorded" at_once record_one
  for n in 1 2; do
    sound=$(echo $TWO_SOUNDS | cut -d ' ' -f $n)
    expect "card $n plays bit for bit" same_sound $sound "/run/scenario/played$n.wav"
    expect "card $n records bit for bit" same_sound $sound "/run/scenario/recorded$n.raw" 0
  done
}

# ---- entropy: what several scenarios do with it ----

# Reads 1 MiB from /dev/hwrng, which NODE serves, without a stall.
read_entropy() {
  wait_for 15 "the driver uses it" grep -q virtio_rng /sys/class/misc/hw_random/rng_current

  # A missed wake-up would cost a second, for the driver looks again by itself then.
  began=$(now)
  before=0
  start dd dd if=/dev/hwrng bs=64 count=16384 of=/run/scenario/entropy
  sleep 0.5
  until gone dd; do
    bytes=$(size /run/scenario/entropy)
    expect "it goes on: $bytes bytes after $(since "$began") s" test "$bytes" -gt "$before"
    before=$bytes
    sleep 0.5
  done
  took=$(since "$began")
  expect "1 MiB was read" test "$(size /run/scenario/entropy)" = 1048576
  longest=$(statistic $NODE longest_us)
  expect "no register access waited a second: $longest us" test "$longest" -lt 1000000

  # Of 2^20 random bytes 4096 are zero, give or take six standard deviations.
  zeros=$((1048576 - $(tr -d '\000' </run/scenario/entropy | wc -c)))
  expect "it looks random: $zeros zeros" test $zeros -gt 3712 -a $zeros -lt 4480
  echo "1 MiB in $took s; register access: median $(statistic $NODE median_us) us, longest $longest us"
}

# refuses STATUS TEXT COMMAND…: whether it ends within 15 s with this exit status, and says so.
refuses() {
  local status=$1 text=$2 got=0
  shift 2
  timeout 15 "$@" >/run/scenario/refusal 2>&1 || got=$?
  cat /run/scenario/refusal
  expect "exit status $status, not $got, from $*" test $got = "$status"
  expect "\"$text\" is said by $*" grep -q -e "$text" /run/scenario/refusal
}
