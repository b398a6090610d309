#!/bin/bash
# Prints the targets of the control plane beside what this machine measures, in about five minutes:
#
#   bench/control_targets.sh [FOLDER]      writes FOLDER/control-*.json (default: .)
#
# PERIGEE_BUILD names another build folder than build.
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench=${PERIGEE_BUILD:-$here/../build}/bin/perigee-bench
folder=${1:-.}
[ -x "$bench" ] || { echo "control_targets.sh: $bench is not there: build first" >&2; exit 1; }
mkdir -p "$folder"

echo "target: unplanned death to a view at all others, 64 members: 200 ms + detection"
echo "        (a closed stream is known after 200 ms; a silent member after 800 ms)"
for nodes in 8 64; do
  "$bench" control --nodes "$nodes" --kills "${KILLS:-50}" --json "$folder/control-$nodes.json"
done
for nodes in 8 64; do
  "$bench" control --nodes "$nodes" --kills 6 --coordinator-away \
    --json "$folder/control-$nodes-away.json"
done
