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
# Its driver may need its back-end until the very end.
trap 'STATUS=$?; at_end; [ $STATUS = 0 ] || { last_words; echo "failed: ${REASON:-a command of the scenario itself}"; }; exit $STATUS' EXIT
. "/target/scenarios/$SCENARIO.sh"
