# SPDX-License-Identifier: Apache-2.0
#
# Linux's virtio_blk on viola's own disk: a file system, files that fio writes and verifies while device and viola are killed,
# e2fsck afterwards.
# limit: 120 s

modprobe -a virtio_blk ext4
load

truncate -s 64M /run/scenario/disk
start_device() { device disk block --file /run/scenario/disk --serial viola-1; }
start_viola() { start viola viola attach block --socket "$(socket disk)" --loopback /dev/$NODE; }
disk() { echo "/dev/$(basename /sys/class/viola-loopback/$NODE/virtio*/block/*)"; }
has_disk() { [ -b "$(disk)" ]; }
at_end() { umount /run/scenario/files 2>/dev/null || :; }

busy() { ! gone "$1"; }

start_device
start_viola
wait_for 20 "the disk appears" has_disk
expect "it has its serial" grep -qx viola-1 "/sys/block/$(basename "$(disk)")/serial"
mkfs.ext4 -q -E lazy_itable_init=0 "$(disk)"
mkdir -p /run/scenario/files
mount -t ext4 "$(disk)" /run/scenario/files

began=$(now)
start fio fio --name=verify --directory=/run/scenario/files --size=6M --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
  --iodepth=8 --verify=crc32c --do_verify=1 --verify_fatal=1 --fsync=64 --rate_iops=200
for round in 1 2; do
  sleep 1
  kill -KILL "$(pid disk)"
  wait_for 5 "the device ends" gone disk
  start_device
  wait_for 10 "viola has resumed" has_resumed viola $((2 * round - 1))
  sleep 1
  kill -KILL "$(pid viola)"
  wait_for 5 "viola ends" gone viola
  start_viola
  wait_for 10 "viola has resumed" has_resumed viola $((2 * round))
done
expect "fio was busy all the time" busy fio
wait_for 60 "fio ends" gone fio
expect "fio has verified all" wait "$(pid fio)"
took=$(since "$began")
umount /run/scenario/files
e2fsck -fn "$(disk)"
echo "6 MiB verified in $took s, device and viola killed twice each; the file system is clean"
