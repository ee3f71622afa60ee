# SPDX-License-Identifier: Apache-2.0
#
# What cannot be is refused in words and with an exit status, and no node is opened for it.
# limit: 100 s

# attach_to NODE SOCKET: as the user asked for it.
attach_to() { echo "viola attach rng --loopback $1 --socket $2"; }

refuses 2 "is the loopback driver's module loaded" $(attach_to /dev/loopback /run/scenario/none)
touch /dev/loopback-7
refuses 2 "it is not a character device" $(attach_to /dev/loopback-7 /run/scenario/none)
rm /dev/loopback-7
refuses 1 "/dev/null" $(attach_to /dev/null /run/scenario/none)

device rng rng
mknod /dev/loopback-7 c 1 3
refuses 2 "EFD_INIT on /dev/loopback-7.*ENOTTY" $(attach_to /dev/loopback-7 "$(socket rng)")
rm /dev/loopback-7

load
chmod 777 "$(socket rng)"
refuses 2 "run as root" busybox su nobody -c "$(attach_to /dev/$NODE "$(socket rng)")"
refuses 2 "config" viola attach sound --loopback /dev/$NODE --socket "$(socket rng)"

start late viola attach rng --loopback /dev/$NODE --socket /run/scenario/none
wait_for 10 "it says that it waits" says late "waiting for a back-end"
expect "nobody has the node open" sh -c "exec 5<>/dev/$NODE"
expect "that was its first release" test "$(offence $NODE release)" = 1
expect "who waits for a back-end ends when told to" end late

exec 5<>/dev/$NODE
refuses 2 "open /dev/$NODE.*EBUSY" $(attach_to /dev/$NODE "$(socket rng)")
exec 5>&-
allow reopen 1
echo "7 refusals, the node never opened to look"
