# SPDX-License-Identifier: Apache-2.0
#
# Linux's virtio_input on viola's own device: evtest reads the events of a file, all of them in their order; a light that the
# driver sets comes back; the device is killed.
# limit: 60 s

modprobe -a virtio_input evdev
load

# The events of the file, as evtest names type, code and value.
packets=200
{
  echo '{"name": "buttons", "codes": {"EV_KEY": [30, 48], "EV_REL": [0], "EV_LED": [0, 1]}}'
  echo '{"wait": 4000}'
  awk -v n=$packets 'BEGIN { for (i = 0; i < n; i++) {
    printf "{\"type\": \"EV_KEY\", \"code\": %d, \"value\": %d}\n", i % 4 < 2 ? 30 : 48, (i + 1) % 2
    printf "{\"type\": \"EV_REL\", \"code\": 0, \"value\": %d}\n", i + 1
    print "{\"type\": \"EV_SYN\", \"code\": 0, \"value\": 0}"
    if (i % 8 == 7) print "{\"wait\": 10}"
  } }'
} >/run/scenario/events.jsonl
awk -v n=$packets 'BEGIN { for (i = 0; i < n; i++) printf "1 %d %d\n2 0 %d\n", i % 4 < 2 ? 30 : 48, (i + 1) % 2, i + 1 }' \
  >/run/scenario/expected

start_device() {
  start input viola device --json input --events /run/scenario/events.jsonl --socket "$(socket input)"
  wait_for 15 "the device listens" test -S "$(socket input)"
}
start_viola() { start viola viola attach input --socket "$(socket input)" --loopback /dev/$NODE; }
event() { echo "/dev/input/$(basename /sys/class/viola-loopback/$NODE/virtio*/input/input*/event*)"; }
has_event() { [ -c "$(event)" ]; }

# set_light LIGHT VALUE: struct input_event, little endian.
set_light() {
  printf "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\021\\0\\$1\\0\\$2\\0\\0\\0" >"$(event)"
}

start_device
start_viola
wait_for 20 "the input device appears" has_event
start evtest evtest "$(event)"
wait_for 3 "evtest listens" says evtest 'Testing'
expect "it has its name" says evtest 'Input device name: "buttons"'
expect "it has lights" says evtest 'LED_CAPSL'
seen() {
  sed -n 's/^Event:.* type \([0-9]*\) ([A-Z_]*), code \([0-9]*\) ([A-Z0-9_]*), value \(-*[0-9]*\)$/\1 \2 \3/p' "$(log evtest)"
}
wait_for 20 "all events come" sh -c "[ \$(grep -c '^Event: .* type 2 ' '$(log evtest)') = $packets ]"
seen >/run/scenario/seen
expect "they are those of the file: $(diff /run/scenario/expected /run/scenario/seen | head -n 3 | tr '\n' ' ')" \
  cmp /run/scenario/expected /run/scenario/seen

set_light 1 1
wait_for 5 "the light comes back" says input '"status".*"type":17,"code":1,"value":1'
set_light 1 0
wait_for 5 "and its end" says input '"status".*"type":17,"code":1,"value":0'

kill -KILL "$(pid input)"
wait_for 5 "the device ends" gone input
start_device
wait_for 10 "viola has resumed" has_resumed viola 1
set_light 0 1
wait_for 5 "the new device hears of a light" says input '"status".*"type":17,"code":0,"value":1'
echo "$((2 * packets)) events in their order, lights come back; the device killed"
