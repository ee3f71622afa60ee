# SPDX-License-Identifier: Apache-2.0
#
# How long a playback stands still when the sound device is killed and started again at once.
# limit: 100 s

. /target/measure.sh
. /target/restart.sh

measure_restarts sound
