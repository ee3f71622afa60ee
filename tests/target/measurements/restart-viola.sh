# SPDX-License-Identifier: Apache-2.0
#
# How long a playback stands still when viola is killed and started again at once.
# limit: 100 s

. /target/measure.sh
. /target/restart.sh

measure_restarts viola
