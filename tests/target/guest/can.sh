# SPDX-License-Identifier: Apache-2.0
#
# What scenarios with a CAN controller are written with: vcan0 is the host's bus, CAN the name of the card's interface.

modprobe -a vcan can-raw virtio_can
ip link add dev vcan0 type vcan
ip link set vcan0 mtu 72 up

# The driver waits for the controller to be stopped, and all of the machine's network with it: so while there is one.
at_end() {
  [ -z "${CAN:-}" ] || timeout 10 /bin/ip link set "$CAN" down
  timeout 10 /bin/ip link del vcan0
}

# has_can: whether the card's interface is there.
has_can() {
  CAN=$(basename /sys/class/viola-loopback/$NODE/virtio*/net/*)
  [ -d "/sys/class/net/$CAN" ]
}

# listen NAME INTERFACE FRAMES: in the background, until so many frames have come.
listen() {
  start "$1" candump -L -r 8000000 -n "$3" "$2"
  wait_for 10 "candump listens on $2" listens "$2"
}

listens() { grep -q " $1 " /proc/net/can/rcvlist_all; }

# counted FRAMES: what generate sends, as candump -L writes it, without time and interface.
counted() {
  awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++)
    printf "%03X#%02X%02X000000000000\n", i % 2048, i % 256, i / 256 }'
}

# generate INTERFACE FRAMES GAP: numbered frames.
generate() { cangen "$1" -g "$3" -p 1000 -n "$2" -I i -L 8 -D i; }

# all_came NAME FRAMES: whether the listener has heard what generate sent, in order and each once.
all_came() {
  wait_for 60 "all frames come to $1: $(wc -l <"$(log "$1")")" gone "$1"
  sed -n 's/^(.*) [^ ]* \(.*\)$/\1/p' "$(log "$1")" >/run/scenario/came
  counted "$2" | cmp - /run/scenario/came
}

# crosses FROM TO FRAME: whether a frame does.
crosses() {
  listen one "$2" 1
  cansend "$1" "$3"
  wait_for 5 "frame $3 comes from $1 to $2" gone one
  expect "it is the same on $2" says one " $2 $3\$"
  rm "$(log one)"
}

both_ways() {
  crosses "$CAN" vcan0 "$1"
  crosses vcan0 "$CAN" "$1"
}

# state: the controller's, as ip shows it.
state() { ip -d link show "$CAN" | grep -o 'state [A-Z-]*' | tail -n 1 | cut -d ' ' -f 2; }

is_state() { [ "$(state)" = "$1" ]; }
