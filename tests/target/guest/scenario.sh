# SPDX-License-Identifier: Apache-2.0
#
# Runs one scenario, in a session of its own: its last line says what came of it.
set -eu
SCENARIO=$1
. /target/lib.sh
rm -rf /run/scenario
mkdir -p /run/scenario
touch /run/scenario/allowed
cut -d ' ' -f 6 /proc/$$/stat >/run/scenario/session
trap '[ $? = 0 ] || echo "failed: ${REASON:-a command of the scenario itself}"' EXIT
. "/target/scenarios/$SCENARIO.sh"
