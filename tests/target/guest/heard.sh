#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# heard.sh RAW WAV HEADER TIMES WORDS: whether a WAV file holds all of a recording in order. What was heard before may be
# heard again, so many times, at most so many words each. A word is four bytes, and in the noise no two are the same.
tail -c +$(($3 + 1)) "$2" >/tmp/heard.raw
words() { od -An -v -t x4 -w4 "$1"; }
{
  words "$1"
  echo end
  words /tmp/heard.raw
} | awk -v times="$4" -v words="$5" '
  $1 == "end" { heard = 1; next }
  !heard { place[$1] = total++; next }
  !($1 in place) { if ($1 != "00000000") strange++; next }
  place[$1] > at { lost += place[$1] - at }
  place[$1] < at { again++; repeated += at - place[$1]; if (at - place[$1] > words) strange++ }
  { at = place[$1] + 1 }
  END {
    lost += total - at
    printf "%d words, %d lost, %d strange, %d heard twice in %d places\n", total, lost, strange, repeated, again
    exit lost + strange > 0 || again > times
  }'
