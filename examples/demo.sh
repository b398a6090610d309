#!/bin/bash
# The main job on a fresh Debian 12 or Ubuntu 24.04: installs what is missing, builds, and trains a
# language model across six processes whose links lose packets, of which one goes dark twice and one
# is killed. Then it trains once more without faults and compares the parameters bit for bit.
#
#   bash examples/demo.sh
#   bash examples/demo.sh --quick                    a short form, for CI
#   bash examples/demo.sh --text book.txt --loss 5%  any flag of example-train
#   bash examples/demo.sh --netns                    a network namespace per process, links by
#                                                    perigee-linkemu (root, or user namespaces)
#
# Exit status 0 only if nothing was lost (examples/train/README.md says what is checked).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  sed -n '2,13s/^# \{0,1\}//p' "$0"
  exit 0
fi
arguments=(--nodes 6 --rate 200Mbit --delay 10ms --loss 1%)
if [ "${1:-}" = --quick ]; then
  shift
  arguments+=(--microbatches 12)
fi

tests/install_packages.sh build
log=build/demo-build.log
mkdir -p build
echo "building into build/ (log: $log)"
build() {
  cmake --preset release &&
    cmake --build build -j "$(nproc)" --target perigeed perigeectl perigee-linkemu \
      example-train
}
if ! build >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "demo.sh: the build failed; the whole log is $log" >&2
  exit 1
fi
exec build/bin/example-train "${arguments[@]}" "$@"
