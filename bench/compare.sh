#!/bin/bash
# The whole comparison of bench/README.md in under 40 minutes on two quiet cores:
#
#   bench/compare.sh [FOLDER [FLAG...]]      writes FOLDER/compare.json (default: .)
#
# Flags are those of `perigee-bench compare`, such as --tiny or --loss 1%.
# Build first, with Gloo (tests/install_packages.sh bench); bench/peers/install.sh adds PCCL. What
# is missing gets a row that says so. PERIGEE_BUILD names another build folder than build.
#
# With FAULTS=1 the fault scenes follow, in another 10 minutes: FOLDER/faults.json.
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench=${PERIGEE_BUILD:-$here/../build}/bin/perigee-bench
folder=${1:-.}
[ $# -eq 0 ] || shift
allowed=/proc/sys/net/ipv4/tcp_allowed_congestion_control

[ -x "$bench" ] || { echo "compare.sh: $bench is not there: build first" >&2; exit 1; }
mkdir -p "$folder"

# Namespaces may use only what the system allows to all; root allows both for the time of the run.
if [ -w "$allowed" ]; then
  before=$(cat "$allowed")
  trap 'echo "$before" >"$allowed"' EXIT
  for name in bbr cubic; do
    case " $(cat "$allowed") " in
      *" $name "*) ;;
      *) echo "$(cat "$allowed") $name" >"$allowed" ;;
    esac
  done
fi

status=0
"$bench" compare --time-limit 37m --json "$folder/compare.json" "$@" || status=$?
if [ "${FAULTS:-0}" != 0 ]; then
  "$bench" compare --faults --congestion bbr --peers perigee,gloo-ring,gloo-hd,tcp-8,pccl \
    --round-trip 10ms --bytes 64MiB --json "$folder/faults.json" || status=$?
fi
exit $status
