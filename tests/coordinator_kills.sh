#!/bin/bash
# Kills perigeed so often with SIGKILL, at random instants of real training, with a store and mTLS,
# while members are drained and taken back; each run is compared with one without (example-train
# --faults coordinator says what is checked). Runs of some 60 kills by different seeds, until the
# kills are done.
#
#   tests/coordinator_kills.sh                 20 kills
#   tests/coordinator_kills.sh 500 1           500, by the seeds 1, 2, ...: a quarter of an hour
#   tests/coordinator_kills.sh 60 7 --loss 5%  any flag of example-train
#
# It needs a release build (build/bin). Exit status 0 only if nothing differed.
set -euo pipefail
if [ "${1:-}" = --help ]; then
  sed -n '2,11s/^# \{0,1\}//p' "$0"
  exit 0
fi
cd "$(dirname "$0")/.."
wanted=${1:-20}
seed=${2:-1}
arguments=(--faults coordinator --nodes 4 --microbatches 8 --delay 5ms --steps 800)
kills=0
log=$(mktemp /tmp/perigee-kills-XXXXXX)
while [ "$kills" -lt "$wanted" ]; do
  if ! build/bin/example-train "${arguments[@]}" --seed "$seed" "${@:3}" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "coordinator_kills.sh: seed $seed failed after $kills kills; the whole log is $log" >&2
    exit 1
  fi
  echo "seed $seed:"
  grep -E '^(perigeed killed|longest time|time per step|steps lost)' "$log" | sed 's/^/  /'
  kills=$((kills + $(sed -n 's/^perigeed killed \([0-9]*\) times.*/\1/p' "$log")))
  seed=$((seed + 1))
done
rm -f "$log"
echo "coordinator_kills.sh: $kills kills, nothing differed"
