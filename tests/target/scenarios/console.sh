# SPDX-License-Identifier: Apache-2.0
#
# Linux's virtio_console on viola's own named ports: 4 MiB each way, a port that programs open and close, the device killed,
# viola killed. No hvc: its driver can occupy two processors while it waits for the device, and this machine has no third.
# limit: 120 s

load
start_device() {
  device console console --port gps=unix:/run/scenario/gps --port bt=null
}
start_viola() { start viola viola attach console --socket "$(socket console)" --loopback /dev/$NODE; }

# port NAME: its device file; there is no udev to make a link of that name.
port() { echo "/dev/$(basename "$(dirname "$(grep -lx "$1" /sys/class/virtio-ports/*/name)")")"; }
has_port() { [ -c "$(port "$1")" ]; }


# connected NAME: whether the driver knows that a program is at the host's end.
connected() { grep -q 'host_connected: 1' "/sys/kernel/debug/virtio-ports/$(basename "$(port "$1")")"; }

left() { ! connected "$1"; }

# crosses BYTES: of the data, both ways.
crosses() {
  rm -f /run/scenario/read
  start from socat -u UNIX-CONNECT:/run/scenario/gps CREATE:/run/scenario/from
  wait_for 5 "the reader is connected" connected gps
  head -c "$1" /run/scenario/data >"$(port gps)"
  wait_for 20 "all of it comes" sh -c "[ \$(stat -c %s /run/scenario/from) = $1 ]"
  end from || :
  expect "what was sent is what came" cmp -n "$1" /run/scenario/from /run/scenario/data
  wait_for 5 "the reader has left" left gps
  start to sh -c "{ head -c $1 /run/scenario/data; until [ -e /run/scenario/read ]; do sleep 0.1; done; } |
    socat -u - UNIX-CONNECT:/run/scenario/gps"
  wait_for 5 "the writer is connected" connected gps
  timeout 30 head -c "$1" "$(port gps)" >/run/scenario/to || fail "what is written does not come"
  expect "what was written is what is read" cmp -n "$1" /run/scenario/to /run/scenario/data
  touch /run/scenario/read
  wait_for 5 "the writer ends" gone to
}

head -c 4194304 /dev/urandom >/run/scenario/data
start_device
start_viola
wait_for 20 "the ports appear" has_port gps

began=$(now)
crosses 4194304
took=$(since "$began")

for _ in 1 2 3 4 5 6 7 8 9 10; do : <"$(port bt)"; done

kill -KILL "$(pid console)"
wait_for 5 "the device ends" gone console
start_device
wait_for 10 "viola has resumed" has_resumed viola 1
crosses 65536

kill -KILL "$(pid viola)"
wait_for 5 "viola ends" gone viola
start_viola
wait_for 10 "viola has resumed" has_resumed viola 2
crosses 65536
echo "4 MiB each way in $took s; device and viola killed"
